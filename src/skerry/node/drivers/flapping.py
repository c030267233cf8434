"""Drivers that end again and again: counted as they end, stopped when it is too often, and tried again later. Pure.

The documented rule: more than `threshold` restarts within `window` seconds is a loop, which stops the driver and marks
it as flapping. Nothing is given up for good: every `PAUSE` seconds one start is tried, and one that lives for longer
than the window takes the mark away. So does another image, other options or other metadata, or a person.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.node.store.driver_marks import DriverMark
from skerry.wire.workload import WorkloadStatus

PAUSE = 600.0
"""Seconds after which a driver that is marked is tried once."""


class Rule(msgspec.Struct, frozen=True):
    """As the documented variables say (`core.cyberwave.knobs`). `window` is in seconds."""

    threshold: int = 4
    window: float = 60.0


class Look(msgspec.Struct, frozen=True):
    """One look at a driver, at `now` (wall, ns); the one before was at `before`. `status` None: it was never started.

    `made_of` is a digest of what it is started with, `metadata` one of its twin's metadata.
    """

    made_of: str
    metadata: str
    status: WorkloadStatus | None
    now: int
    before: int | None


def first_mark(twin: str, look: Look) -> DriverMark:
    """Of a driver that nothing is known about."""
    return DriverMark(twin, look.made_of, look.metadata, _restarts(look))


def judged(old: DriverMark, look: Look, rule: Rule) -> DriverMark:
    """The mark after a look: ends are counted, what flaps is marked, what has waited is tried, what has lived is free."""
    restarts, status, now = _restarts(look), look.status, look.now
    mark = of_this(old, look.made_of, look.metadata)
    if mark.made_of != old.made_of:
        mark = restarted_on_purpose(mark, restarts)
    if status is not None and status.exit is not None:
        mark = ended(mark, restarts, min(status.exit.at or now, now), look.before, rule)
    else:
        mark = restarted_on_purpose(mark, restarts)
    if loops(mark, now, rule):
        return marked(mark, now, look.metadata)
    if due(mark, now) == 0:
        return tried(mark, now)
    if status is not None and _is_proven(mark, status, now, rule):
        return DriverMark(mark.twin, look.made_of, look.metadata, restarts, mark.total)
    return mark


def next_look(mark: DriverMark, now: int, rule: Rule) -> float | None:
    """Seconds after which time alone may change the mark; None: it cannot."""
    waits = due(mark, now)
    if waits is None and mark.trial:
        return rule.window
    return waits


def of_this(mark: DriverMark, made_of: str, metadata: str) -> DriverMark:
    """The mark for what is wanted now: another image or option forgets it, and so does other metadata while it is down."""
    if mark.made_of != made_of:
        return DriverMark(mark.twin, made_of, metadata)
    if mark.is_held and mark.metadata != metadata:
        return DriverMark(mark.twin, made_of, metadata, restarts=mark.restarts, total=mark.total)
    return mark


def ended(mark: DriverMark, restarts: int, at: int, seen: int | None, rule: Rule) -> DriverMark:
    """Its status shows so many restarts, of which the last followed an end at `at`; it was looked at last at `seen`.

    A number that went back is a start on purpose. Where it rose by more than one, nobody was there to see each: they are
    taken to be spread over the time since.
    """
    more = restarts if restarts < mark.restarts else restarts - mark.restarts
    mark = replace(mark, restarts=restarts)
    if not more:
        return mark
    before = max(*mark.ends[-1:], at - int(PAUSE * NS) if seen is None else seen, 0)
    before = min(before, at)
    times = tuple(before + (at - before) * n // more for n in range(1, more + 1))
    ends = (*mark.ends, *times)[-(rule.threshold + 1) :]
    return replace(mark, ends=ends, total=mark.total + more)


def restarted_on_purpose(mark: DriverMark, restarts: int) -> DriverMark:
    """Its status shows so many restarts, and none of them followed an end of what ran."""
    return replace(mark, restarts=restarts)


def loops(mark: DriverMark, now: int, rule: Rule) -> bool:
    """Whether it is to be stopped and marked now: too many ends in the window, or one of a trial."""
    if mark.is_held:
        return False
    recent = recently(mark, now, rule)
    return recent > rule.threshold or bool(
        mark.trial and recent and mark.ends[-1] > (mark.since or 0)
    )


def recently(mark: DriverMark, now: int, rule: Rule) -> int:
    """How many of its ends are within the window; those of a time that is yet to come, by a clock set back, are not."""
    return sum(1 for end in mark.ends if 0 <= now - end < rule.window * NS)


def marked(mark: DriverMark, now: int, metadata: str) -> DriverMark:
    """It flaps from now on; it is tried when `PAUSE` is over."""
    return replace(mark, since=now, trial=False, metadata=metadata)


def due(mark: DriverMark, now: int) -> float | None:
    """Seconds until it may be tried; a clock that was set back makes that now. None: it is not held."""
    if mark.since is None or mark.trial:
        return None
    passed = (now - mark.since) / NS
    return 0.0 if passed < 0 else max(PAUSE - passed, 0.0)


def tried(mark: DriverMark, now: int) -> DriverMark:
    """It may be started once."""
    return replace(mark, trial=True, since=now)


def proven(mark: DriverMark, lived: float, rule: Rule) -> bool:
    """Whether a trial has lived for long enough; its mark may go."""
    return mark.trial and lived > rule.window


def _restarts(look: Look) -> int:
    return 0 if look.status is None else look.status.restarts


def _is_proven(mark: DriverMark, status: WorkloadStatus, now: int, rule: Rule) -> bool:
    since = max(status.since, mark.since or 0, *mark.ends[-1:])
    return status.phase == "running" and proven(mark, (now - since) / NS, rule)
