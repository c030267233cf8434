"""Secrets on a node: its key, what opens them, and what workloads get of them. ADR 27."""
