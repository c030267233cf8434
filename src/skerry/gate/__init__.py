"""What containers talk to: an MQTT endpoint and a REST front that stay open while the agent or the broker restarts."""

VERSION = 2
"""Of what the agent and the gate say to each other (`control`) and write for each other (`tokens`, `journal`).

A gate outlives the release that has started it, and is asked by the agents of later ones. Where one could not understand
the other, this is another number: then an upgrade ends the gate, and with it the connections of all clients.
"""

REQUESTS = 128
"""At most so many connections to the REST front at once; of the agent's socket behind it, too."""

SESSION_SECONDS = 3600
"""So long the broker keeps the session of a client that is away, at most."""
