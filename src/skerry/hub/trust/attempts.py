"""How often somebody may try passwords. Pure: counts in, counts out; `trust.sign_ins` keeps them in the database.

Three things are counted: tries for one user from one address (a *pair*), for one user from anywhere, and from one
address for anybody. A pair that has signed in lately is held up by its own failures alone, so whoever tries a user's
name elsewhere does not lock that user out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from skerry.kit.clock import NS

Kind = Literal["pair", "user", "address"]

FREE: Mapping[Kind, int] = {"pair": 5, "user": 20, "address": 30}
"""Failures before anybody has to wait."""

FIRST_WAIT = 2 * NS
LONGEST_WAIT = 900 * NS
"""Each further failure doubles the wait up to this one."""

FORGET = 86_400 * NS
"""Failures are forgotten when there was none for so long."""

KNOWN = 30 * 86_400 * NS
"""A pair is known for so long after it has signed in."""


AHEAD = 300 * NS
"""Clocks of hubs that share a database differ by less. What lies further ahead was counted by a clock that was wrong."""


@dataclass(frozen=True)
class Count:
    """Failures so far, and until when further tries are refused. Times are ns since 1970; 0: never."""

    failures: int = 0
    last_at: int = 0
    until: int = 0
    succeeded_at: int = 0


Counts = Mapping[Kind, Count]


def wait(counts: Counts, now: int) -> int:
    """For how many nanoseconds nobody may try; 0: now."""
    pair = counts["pair"]
    known = pair.succeeded_at > now - KNOWN
    held_by = [pair] if known else counts.values()
    ends = [_credible(count, now).until for count in held_by]
    # A clock that was set back must not lock anybody out for longer than a lock lasts.
    return max(0, min(max(ends) - now, LONGEST_WAIT))


def tried(counts: Counts, now: int) -> Counts:
    """With one more try, which counts as failed until it is `passed`."""
    return {kind: _failed(_credible(count, now), FREE[kind], now) for kind, count in counts.items()}


def passed(counts: Counts, before: Counts, now: int) -> Counts:
    """`counts` as they are now, without the try at `now` that `before` preceded, because it was the right password."""
    mine = tried(before, now)
    return {
        kind: Count(0, now, 0, now) if kind == "pair" else _undone(count, mine[kind], before[kind])
        for kind, count in counts.items()
    }


def withdrawn(counts: Counts, before: Counts, now: int) -> Counts:
    """`counts` as they are now, without the try at `now` that `before` preceded, because it could not be judged."""
    mine = tried(before, now)
    return {kind: _undone(count, mine[kind], before[kind]) for kind, count in counts.items()}


def _credible(count: Count, now: int) -> Count:
    """No failures where they, or the lock, are of a clock that has been set back since."""
    wrong = count.last_at > now + AHEAD or count.until > now + LONGEST_WAIT + AHEAD
    return Count(succeeded_at=count.succeeded_at) if wrong else count


def _failed(count: Count, free: int, now: int) -> Count:
    failures = 1 if count.last_at < now - FORGET else count.failures + 1
    over = failures - free
    lock = min(FIRST_WAIT << min(over, 30), LONGEST_WAIT) if over >= 0 else 0
    return Count(failures, now, now + lock if lock else count.until, count.succeeded_at)


def _undone(count: Count, mine: Count, before: Count) -> Count:
    # A lock of earlier failures is none of this try's to end: one's own password must not open the way for guesses.
    until = before.until if count.until == mine.until else count.until
    return replace(count, failures=max(count.failures - 1, 0), until=until)


def network_of(address: str) -> str:
    """What counts as one address: of IPv6 the /64 that one customer has."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 6:
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.ip_network((found, 64), strict=False).network_address)
    return str(found)
