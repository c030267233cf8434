"""What programs of other makers expect of a hub, one package each: Cyberwave's API and topics for clients outside come here.

What their containers need on a device is answered there (`node.contracts`); both read their names and bodies by `core.cyberwave`.
"""
