"""What containers talk to: an MQTT endpoint and a REST front that stay open while the agent or the broker restarts."""

VERSION = 2
"""Of what the agent and the gate say to each other (`control`)."""

REQUESTS = 128
"""At most so many connections to the REST front at once; of the agent's socket behind it, too."""
