"""Strangers' words in our sentences: names from files and networks must not move a terminal's cursor."""

from __future__ import annotations

MAX_SHOWN = 400


def one_line(text: str) -> str:
    """`text` without control characters and line ends, cut after MAX_SHOWN characters."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:MAX_SHOWN])
    return shown if len(text) <= MAX_SHOWN else f"{shown} …"
