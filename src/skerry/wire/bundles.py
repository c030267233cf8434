"""Diagnostics bundles on their way from a node to a person: channels of a kind, and how much one may be."""

from __future__ import annotations

KIND = "diagnostics"
"""Of the channel: the node sends the file's bytes and closes, with words when it is not whole."""

MOST_BYTES = 40 << 20
"""Of one bundle on its way, more than what it holds before it is compressed: whoever sends more sends something else."""

LONGEST = 600.0
"""Seconds in which a node has made and sent one."""
