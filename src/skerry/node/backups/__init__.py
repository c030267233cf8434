"""Backups of a node: made beside the running agent, kept by a schedule, restored where no agent runs (ADR 0015)."""
