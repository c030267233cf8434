"""What authors of workloads import. It reaches the node only by its local API."""
