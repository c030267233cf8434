"""Small line charts as SVG path data: pure functions from points to text.

Drawn on the server: no script, sharp on every screen, and the colours follow the page's theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

STEPS = 121
"""Points of a line; with HEIGHT the size of the drawing, in its own units."""

HEIGHT = 32

_MAX_BRIDGE = 6
"""A hole of more steps than this is shown as a hole: an outage must not look like a straight line."""


def scale(values: Sequence[float]) -> tuple[float, float]:
    """What to draw between: the lowest and highest value, but never so near that noise fills the chart."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    least = max(abs(high) * 0.02, 1e-9)
    if high - low < least:
        middle = (high + low) / 2
        return middle - least, middle + least
    return low, high


def path(values: Sequence[float | None], low: float, high: float) -> str:
    """The SVG path of a line: x is the step's number, y grows downwards from `high` to `low`."""
    drawn = [
        (index, round(1 + (HEIGHT - 2) * (high - value) / (high - low), 1))
        for index, value in enumerate(values)
        if value is not None
    ]
    if not drawn:
        return ""
    text = f"M{drawn[0][0]} {drawn[0][1]}h.01"  # so that a lone point is a dot
    for (before, _), (x, y) in pairwise(drawn):
        text += f"{'L' if x - before <= _MAX_BRIDGE else 'M'}{x} {y}"
        if x - before > _MAX_BRIDGE:
            text += "h.01"
    return text
