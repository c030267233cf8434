"""Who did what at this device: entered into the node's audit log before it is done. See docs/operate/audit.md."""
