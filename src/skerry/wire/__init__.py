"""Frozen values that cross the network between node, hub, workloads and people, and their codec."""
