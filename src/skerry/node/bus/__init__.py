"""The data bus of drivers and workers on this device: its router, and what of it is kept."""
