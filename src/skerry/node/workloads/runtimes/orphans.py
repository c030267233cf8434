"""What the agent does for running instances while no keeper lives: it sees their ends and keeps their output.

The next keeper takes over by `adopt`; it drains what an ended instance left in its FIFOs, which is there
only as long as somebody has them open.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from skerry.keeper.log_rules import LogRules
from skerry.kit.clock import Clock
from skerry.node.ports import ProcessIdentity
from skerry.node.workloads.runtimes.identity import end_leftovers, watch_end


class Held(msgspec.Struct, frozen=True):
    """An instance that the runtime is responsible for. No identity: its spawn has not been answered yet.

    `moved` and `isolation` as in `ports.RunningInstance`.
    """

    instance: str
    workload: str
    log: Path
    log_rules: LogRules
    identity: ProcessIdentity | None = None
    moved: bool = False
    isolation: str = ""


class Orphans:
    """Instances between two keepers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken: dict[str, Held] = {}
        self._fifos: dict[str, list[int]] = {}
        self._watches: dict[str, Callable[[], None]] = {}
        self._ended: dict[str, int] = {}

    def take(self, held: Held) -> None:
        """Watches an instance until `release_all`; taking it twice is harmless."""
        if held.identity is None or held.instance in self._taken:
            return
        self._taken[held.instance] = held
        self._fifos[held.instance] = _open_fifos(held.log)
        pid, start_time = held.identity.pid, held.identity.start_time
        stop = watch_end(pid, start_time, lambda: self._note_end(held))
        if stop is None:
            self._note_end(held)
        else:
            self._watches[held.instance] = stop

    def taken(self) -> list[Held]:
        """Everything that is looked after, ended or not."""
        return list(self._taken.values())

    def ended(self) -> dict[str, int]:
        """Instances that have ended meanwhile, with the time (ns since 1970) at which that was seen."""
        return dict(self._ended)

    def release_all(self) -> None:
        """A keeper, or nobody, is responsible from now on."""
        for stop in self._watches.values():
            stop()
        for fds in self._fifos.values():
            for fd in fds:
                os.close(fd)
        for table in (self._taken, self._fifos, self._watches, self._ended):
            table.clear()

    def _note_end(self, held: Held) -> None:
        if held.identity is not None:
            end_leftovers(held.instance, held.identity)
        self._ended[held.instance] = self._clock.wall_ns()


def _open_fifos(log: Path) -> list[int]:
    fds = []
    for stream in ("out", "err"):
        try:
            fds.append(os.open(f"{log}.{stream}.fifo", os.O_RDONLY | os.O_NONBLOCK))
        except FileNotFoundError:
            continue
    return fds
