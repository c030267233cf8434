"""Skerry: an edge platform. One node per device, one hub, every record kept through any outage."""

__version__ = "0.1.0"
