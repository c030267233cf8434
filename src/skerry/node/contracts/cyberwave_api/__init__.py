"""Cyberwave's REST as this node's drivers, workers and their SDK ask for it: answered from the node's store alone.

`app` has the routes and what holds for all of them, the other modules the answers. docs/reference/cyberwave-rest.md,
docs/adr/0037. Requests come by the gate (`skerry.gate.splice`), which holds them while the agent restarts.
"""
