"""Who the hub is to this node and this node to the hub: its key, its certificate, the fleet's roots. See docs/adr/0024."""
