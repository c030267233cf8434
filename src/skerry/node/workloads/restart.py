"""What follows an exit: restart policy, delays and breaker. Pure; docs/reference/lifecycle.md has the table.

Two counts, because a program that ends with code 0 again and again is odd but has not failed:

    short lives in a row   make the delay: none, then `delay` × 2ⁿ up to `max_delay`. Exits with code 0 count, so that
                           nothing spins
    failures in `window`   trip the breaker. Exits with code 0 count only where the policy says so

A life of `reset_after` forgets both. After a trip there is one try each `window` for ever: nothing is given up.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from skerry.kit.backoff import Backoff
from skerry.kit.clock import NS
from skerry.node.store.instances import History
from skerry.wire.workload import Exit, Restart


class Ending(msgspec.Struct, frozen=True):
    """An exit, after a life of so many seconds, at a monotonic time."""

    exit: Exit
    life: float
    now: int


class Verdict(msgspec.Struct, frozen=True):
    """The phase that follows. With `backoff` and `tripped`, `due` is the monotonic ns of the next start."""

    phase: Literal["backoff", "tripped", "succeeded", "failed"]
    history: History = History()
    due: int | None = None


def after_exit(policy: Restart, history: History, ending: Ending, chance: float) -> Verdict:
    """Judges an exit that nobody asked for. `chance` (0 to 1) is the jitter. An unknown exit counts as a failure."""
    ok = ending.exit.ok
    if policy.policy == "never" or (policy.policy == "on-failure" and ok):
        return Verdict("succeeded" if ok else "failed")
    if ending.life >= policy.reset_after:
        history = History()
    history = replace(history, short_lives=history.short_lives + 1)
    again = Verdict("backoff", history, ending.now + _delay(policy, history.short_lives, chance))
    if ok and policy.counts == "failures":
        return again
    return _after_failure(policy, again, ending.now)


def _after_failure(policy: Restart, again: Verdict, now: int) -> Verdict:
    window = int(policy.window * NS)
    recent = tuple(at for at in again.history.failures if at > now - window)
    history = replace(again.history, failures=(*recent, now)[-policy.attempts :])
    if history.half_open or len(history.failures) >= policy.attempts:
        return Verdict("tripped", replace(history, half_open=True), now + window)
    return replace(again, history=history)


def _delay(policy: Restart, short_lives: int, chance: float) -> int:
    if short_lives <= 1:
        return 0
    return int(Backoff(policy.delay, policy.max_delay).at(short_lives - 1, chance) * NS)
