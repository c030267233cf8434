"""The node's local HTTP: admin socket, one socket per workload, read-only loopback port."""
