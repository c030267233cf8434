"""Sentences about a node's link, for `node status` and `sync status`."""

from __future__ import annotations

from skerry.kit.clock import NS, iso
from skerry.kit.units import format_duration
from skerry.wire.local import LinkStatus


def link_sentence(link: LinkStatus, now_ns: int) -> str:
    """«offline for 5m 3s (since 2026-…) to http://…: connection refused»."""
    if link.state == "standalone":
        return "standalone: this node belongs to no hub («skerry node enroll» changes that)"
    lasting = format_duration((now_ns - link.since) / NS)
    cause = f": {link.cause}" if link.cause else ""
    return f"{link.state} for {lasting} (since {iso(link.since)}) to {link.hub}{cause}"
