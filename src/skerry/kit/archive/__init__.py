"""Backups: one file for all that a node or a hub consists of; written, verified, read and rotated (ADR 0015)."""
