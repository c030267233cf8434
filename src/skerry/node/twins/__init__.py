"""Cyberwave's twins on a node: the rows that it shares with its hub, and the files that drivers read and edit (ADR 35)."""
