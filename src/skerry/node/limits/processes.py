"""Memory of processes as /proc has it: one line of each process, and exact figures only when it matters.

A resident set counts what processes share for each of them, so the sum is too much, never too little, and costs one
read a process. Near the limit the proportional set size is read (`smaps_rollup`, about a millisecond for a large
process), and what the sum was too much is taken off until it may have changed.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Mapping

import msgspec

from skerry.keeper.marks import RLIMIT_LOCKS, mark_of
from skerry.keeper.procfs import all_pids
from skerry.kit.clock import NS, Clock
from skerry.node.limits.memory import Reading
from skerry.node.ports import Living

_PAGE = os.sysconf("SC_PAGE_SIZE")
_OWN = ""
"""The owner of the node's own processes."""

_BRIEF = 10.0
"""Seconds. A child of the agent's own counts once it has lived so long: one that makes a key or signs is gone before
anybody should be ended for its memory."""

_TICKS = os.sysconf("SC_CLK_TCK")

_EXACT_FOR = 30 * NS
"""So long an exact reading says how much a sum of resident sets is too much."""


class Process(msgspec.Struct, frozen=True):
    """One process: its parent, start time in clock ticks since boot, and resident bytes."""

    pid: int
    parent: int
    start: int
    resident: int


def owners(
    processes: Mapping[int, Process],
    living: Iterable[Living],
    own: Iterable[int],
    marks: Mapping[int, int],
) -> dict[int, str]:
    """Whose each process is: an instance's id, or empty for the node's own; others are left out. Pure.

    The nearest known ancestor counts; a process that has lost its parents is known by its mark.
    """
    known = dict.fromkeys(own, _OWN)
    by_mark: dict[int, str] = {}
    for one in living:
        by_mark[mark_of(one.instance)] = one.instance
        leader = one.identity
        if leader is not None:
            there = processes.get(leader.pid)
            if there is not None and there.start == leader.start_time:
                known[leader.pid] = one.instance
    found: dict[int, str | None] = {**known}
    for pid, mark in marks.items():
        if mark in by_mark:
            found.setdefault(pid, by_mark[mark])
    for pid in processes:
        _owner(pid, processes, found)
    return {pid: owner for pid, owner in found.items() if owner is not None and pid in processes}


def _owner(pid: int, processes: Mapping[int, Process], found: dict[int, str | None]) -> None:
    """Follows parents up to one whose owner is known, and notes it for all on the way."""
    way: list[int] = []
    while pid not in found and pid in processes and pid not in way:
        way.append(pid)
        pid = processes[pid].parent
    owner = found.get(pid)
    for each in way:
        found[each] = owner


class ProcMeter:
    """Implements `memory.Meter` by adding up processes, with those of containers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._surplus = Reading(0, {})
        self._exact_at: int | None = None

    def read(self, living: list[Living], keeper_pid: int | None, high: int) -> Reading:
        processes = {one.pid: one for pid in all_pids() if (one := _read(pid)) is not None}
        own = [os.getpid()] if keeper_pid is None else [os.getpid(), keeper_pid]
        owned = without_brief(
            owners(processes, living, own, _marks(processes)), processes, own, _since_boot()
        )
        resident = {pid: processes[pid].resident for pid in owned}
        rough = _sum(owned, resident)
        now = self._clock.monotonic_ns()
        if self._exact_at is not None and now - self._exact_at < _EXACT_FOR:
            rough = lessened(rough, self._surplus)
        if rough.total <= high:
            return rough
        exact = _sum(owned, {pid: _proportional(pid, processes[pid].resident) for pid in owned})
        self._surplus, self._exact_at = lessened(_sum(owned, resident), exact), now
        return exact


def without_brief(
    owned: Mapping[int, str], processes: Mapping[int, Process], own: Iterable[int], now: float
) -> dict[int, str]:
    """Without the node's own processes, besides `own`, that began less than `_BRIEF` before `now` (s since boot). Pure."""
    there = set(own)
    return {
        pid: owner
        for pid, owner in owned.items()
        if owner != _OWN or pid in there or now - processes[pid].start / _TICKS >= _BRIEF
    }


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _sum(owned: Mapping[int, str], sizes: Mapping[int, int]) -> Reading:
    totals: dict[str, int] = {}
    for pid, owner in owned.items():
        totals[owner] = totals.get(owner, 0) + sizes[pid]
    return Reading(totals.pop(_OWN, 0), totals)


def lessened(reading: Reading, surplus: Reading) -> Reading:
    """The reading without what its parts were lately found to be too much. Pure."""
    instances = {
        instance: max(size - surplus.instances.get(instance, 0), 0)
        for instance, size in reading.instances.items()
    }
    return Reading(max(reading.own - surplus.own, 0), instances)


def _read(pid: int) -> Process | None:
    line = _content(f"/proc/{pid}/stat", 1024)
    if not line:
        return None
    fields = line[line.rindex(b")") + 2 :].split()
    return Process(pid, int(fields[1]), int(fields[19]), int(fields[21]) * _PAGE)


def _marks(pids: Iterable[int]) -> dict[int, int]:
    """The marks of those that may be asked: a node without privileges has no processes of other users."""
    found = {}
    for pid in pids:
        try:
            mark = resource.prlimit(pid, RLIMIT_LOCKS)[1]
        except OSError:
            continue
        if mark != resource.RLIM_INFINITY:
            found[pid] = mark
    return found


def _proportional(pid: int, resident: int) -> int:
    """Its share of what it has in memory; its resident set where that is not told."""
    for line in _content(f"/proc/{pid}/smaps_rollup", 4096).splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return resident


def _content(path: str, most: int) -> bytes:
    """Empty when the process has ended or is none of ours."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, most)
    except OSError:
        return b""
    finally:
        os.close(fd)
