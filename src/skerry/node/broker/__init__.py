"""The broker and the gate of a node: what is between its containers."""
