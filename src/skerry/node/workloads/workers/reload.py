"""When a change of the scripts is taken up: at once, later, or not at all because the worker has it already. Pure.

    at least `reload_delay` after the last automatic restart
    at most LIMIT automatic restarts within WINDOW before it: with more, reloads are suspended until that holds again

Automatic are reloads and restarts by the restart policy. Both count, but only reloads wait here: what follows an exit
is the policy's to say (`workloads.restart`). A change that waits is not lost: it is the difference between what the
directory has and what the store says that the worker was started with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from skerry.kit.clock import NS
from skerry.node.store.instances import ActualWorkload
from skerry.node.store.workers import PastRestart
from skerry.node.workloads.transitions import Moment

LIMIT = 5
WINDOW = 300.0
"""Seconds."""

AUTOMATIC = frozenset({"reload", "crash"})


class Change(msgspec.Struct, frozen=True):
    """The directory has something else than what the worker was started with, by name; first seen at a monotonic time."""

    files: tuple[str, ...]
    seen: int


class TakenUp(msgspec.Struct, frozen=True):
    """The worker has read the change, or will when it starts anyway."""


class Reload(msgspec.Struct, frozen=True):
    """Restart the worker now."""


class Later(msgspec.Struct, frozen=True):
    """Not before the monotonic time `until`."""

    until: int
    why: Literal["delay", "breaker"]


Decision = TakenUp | Reload | Later


def changed_files(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """The names whose content differs, is new or is gone."""
    return tuple(name for name in sorted({*old, *new}) if old.get(name) != new.get(name))


def decide(
    change: Change,
    actual: ActualWorkload | None,
    asked: int,
    past: Iterable[PastRestart],
    delay: float,
    moment: Moment,
) -> Decision:
    """What to do about a change. `asked` is how many reloads have been asked for so far, `delay` is in seconds."""
    if _is_taken_up(change, actual, asked):
        return TakenUp()
    ages = automatic_ages(past, moment)
    waits: list[Later] = []
    if ages:
        waits.append(Later(moment.monotonic + int(delay * NS) - ages[0], "delay"))
    clear = clears_in(ages)
    if clear:
        waits.append(Later(moment.monotonic + clear, "breaker"))
    longest = max(waits, key=lambda wait: wait.until, default=None)
    return longest if longest and longest.until > moment.monotonic else Reload()


def automatic_ages(past: Iterable[PastRestart], moment: Moment) -> list[int]:
    """How long ago, in ns, the automatic restarts were, newest first.

    Within one boot by the monotonic clock. Before it by the wall clock, which may have been set since, but never
    less than this boot has lasted.
    """
    return sorted(
        moment.monotonic - one.monotonic
        if one.boot_id == moment.boot_id
        else max(moment.wall - one.at, moment.monotonic)
        for one in past
        if one.cause in AUTOMATIC
    )


def within_window(ages: Iterable[int]) -> list[int]:
    """Those that count for the breaker."""
    return [age for age in ages if age < int(WINDOW * NS)]


def clears_in(ages: Iterable[int]) -> int:
    """Nanoseconds until no more than LIMIT of the restarts lie within WINDOW; 0: reloads are not suspended."""
    recent = sorted(within_window(ages))
    return int(WINDOW * NS) - recent[LIMIT] if len(recent) > LIMIT else 0


def _is_taken_up(change: Change, actual: ActualWorkload | None, asked: int) -> bool:
    if actual is None or actual.assignment.local.reloads < asked:
        return True
    if actual.phase in {"pending", "stopping", "stopped"}:
        return True
    return actual.instance is not None and actual.instance.started > change.seen
