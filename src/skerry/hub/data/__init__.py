"""Measurements and events of all nodes: ingest, query, retention."""
