"""Publishes an event when a figure of this machine goes above its limit, and another when it is back.

    python -m skerry.samples.disk_watch
        LIMITS: «host.disk.percent=90 host.memory.percent=95», HYSTERESIS: «2» (in the figure's own unit)

Subscribes on its own node, so it works without a hub. `crossing` decides; `main` is the loop.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

from skerry import sdk
from skerry.samples import settings
from skerry.samples.log import say


@dataclass(frozen=True)
class Limit:
    """A figure is high above `above`, and normal again at or below `below`; in between it stays what it was."""

    figure: str
    above: float
    below: float


@dataclass(frozen=True)
class Crossing:
    """Something to tell."""

    name: str
    text: str
    high: bool


def read_limits(text: str, hysteresis: float) -> dict[str, Limit]:
    """Limits by figure, from words like «host.disk.percent=90». Raises InvalidInput."""
    limits = {}
    for word in text.replace(",", " ").split():
        figure, _, number = word.partition("=")
        try:
            above = float(number)
        except ValueError as error:
            raise sdk.InvalidInput(
                f"cannot read limit «{word}»: write it as host.disk.percent=90"
            ) from error
        limits[figure] = Limit(figure, above, above - hysteresis)
    return limits


def crossing(limit: Limit, value: float, *, high: bool) -> Crossing | None:
    """What to tell about `value` when the figure was `high` before; None when nothing has changed."""
    if not high and value > limit.above:
        text = f"{limit.figure} is {value:g}, above its limit of {limit.above:g}"
        return Crossing(f"{limit.figure}.high", text, high=True)
    if high and value <= limit.below:
        text = f"{limit.figure} is {value:g}, back at or below {limit.below:g}"
        return Crossing(f"{limit.figure}.normal", text, high=False)
    return None


def described(limit: Limit, *, high: bool) -> str:
    """«host.disk.percent (limit 90, normal again at 88)»."""
    now = ", above it at present" if high else ""
    return f"{limit.figure} (limit {limit.above:g}, normal again at {limit.below:g}{now})"


def was_high(limit: Limit) -> bool:
    """How this figure was left: the newest event about it, which may be of an earlier process."""
    events = sdk.query(f"{limit.figure}.*", kind="event", limit=1)
    return bool(events) and events[-1].name == f"{limit.figure}.high"


def main() -> None:
    """Watches until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    limits = read_limits(
        settings.text("LIMITS", "host.disk.percent=90 host.memory.percent=95"),
        float(settings.text("HYSTERESIS", "2")),
    )
    high = {figure: was_high(limit) for figure, limit in limits.items()}
    say(
        f"watching {', '.join(described(limit, high=high[limit.figure]) for limit in limits.values())}"
    )
    for row in sdk.subscribe("host.*", kind="measurement"):
        limit = limits.get(row.name)
        if limit is None or isinstance(row.value, str):
            continue
        crossed = crossing(limit, row.value, high=high[row.name])
        if crossed is not None:
            meta: sdk.Meta = {"value": row.value, "limit": limit.above}
            sdk.event(crossed.name, crossed.text, meta=meta)
            high[row.name] = crossed.high
            say(crossed.text)


if __name__ == "__main__":
    main()
