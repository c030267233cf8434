"""The documented restart of everything that Cyberwave runs on this device: implements `node.twin_ports.EdgeRestart`.

    pushing    what drivers have changed in their twins' files goes into the rows, and to the hub if it is there
    stopping   workers end, then drivers, and their containers with them; nobody else's do
    removing   the twins' files go, after a last look for changes
    starting   the hub's rows are fetched if it is there, the files written, drivers started, then workers (`order`)

The step that is under way is in the store before it begins, and each may be repeated: a node that is killed goes on
with it at its next start, before anything is started.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Literal, Protocol

import msgspec
from msgspec.structs import replace

from skerry.kit.clock import NS, Clock
from skerry.kit.errors import SkerryError, Transient
from skerry.kit.tasks import Guard
from skerry.node.drivers.starting import cannot_start
from skerry.node.drivers.watching import Statuses
from skerry.node.store.driver_marks import DriverStore, RestartRow
from skerry.node.twin_ports import Alerts, NodeAlert
from skerry.wire.workload import Phase, WorkloadStatus

Phases = Literal["pushing", "stopping", "removing", "starting", "done"]

HUB_SECONDS = 5.0
"""What the hub is given to take changes, and to tell its own."""

START_SECONDS = 120.0
"""After which the restart counts as done, whatever has not started: it is told of by its own alert."""

KIND = "edge_core_restart"
WHY = "everything of Cyberwave's on this device is being restarted"

_DOWN: frozenset[Phase] = frozenset({"pending", "stopped", "succeeded", "failed"})
_SETTLED: frozenset[Phase] = frozenset({"running", "backoff", "tripped", "succeeded", "failed"})

log = logging.getLogger(__name__)


class Part(Protocol):
    """Drivers, or workers: workloads that can be kept down for a while."""

    async def hold(self, why: str) -> None:
        """They are to be down from now on; an empty `why`: not any more."""
        ...

    def names(self) -> Collection[str]:
        """The workloads."""
        ...


class Deeds(msgspec.Struct, frozen=True):
    """What is done with twins and their files.

    `sync_files` takes in what drivers have changed and writes what the rows say, `clear_files` does the former and removes
    them. `exchange` has the hub take what there is and fetches what it has, within so many seconds; it raises SkerryError
    where there is no hub. `twins` are those of this device. `again` comes before anything is started: what was found of
    drivers before does not count.
    """

    sync_files: Callable[[], Awaitable[object]]
    clear_files: Callable[[], Awaitable[object]]
    exchange: Callable[[float], Awaitable[object]]
    twins: Callable[[], Sequence[str]]
    again: Callable[[], Awaitable[object]]


class EdgeCoreRestart:
    """`restore` comes before anything is wanted, `run` goes on for as long as the agent. `parts` are started in their order, and ended in the other one."""

    def __init__(  # noqa: PLR0913, PLR0917 - a composition
        self,
        parts: Sequence[Part],
        deeds: Deeds,
        statuses: Statuses,
        alerts: Alerts,
        store: DriverStore,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._parts = parts
        self._deeds = deeds
        self._statuses = statuses
        self._alerts = alerts
        self._store = store
        self._clock = clock
        self._guard = Guard("restart of drivers and workers", clock, chance)
        self._row: RestartRow | None = None
        self._asked = asyncio.Event()
        self._over = asyncio.Condition()

    async def restore(self) -> None:
        """Takes up a restart that was under way when the agent ended."""
        self._row = self._store.unfinished()
        if self._row is not None:
            if self._row.phase in {"stopping", "removing"}:
                await self._hold(WHY)
            self._asked.set()

    async def restart_edge_core(self, request_id: str, alert: str = "") -> str:
        """As `EdgeRestart`."""
        known = self._store.restart(request_id)
        if known is not None and known.phase == "done":
            return known.message
        if self._row is None:
            await self._begin(RestartRow(request_id, alert, "pushing", "", self._clock.wall_ns()))
        elif self._row.request != request_id:
            words = f"not done: restart {self._row.request} was under way"
            now = self._clock.wall_ns()
            await self._store.put_restart(RestartRow(request_id, alert, "done", words, now))
            return words
        async with self._over:
            await self._over.wait_for(lambda: self._is_done(request_id))
        done = self._store.restart(request_id)
        if done is None:
            raise Transient(
                f"cannot restart for request {request_id}: it could not be written down"
            )
        return done.message

    async def _begin(self, row: RestartRow) -> None:
        self._row = row
        written = False
        try:
            await self._store.put_restart(row)
            written = True
        finally:
            if not written:
                self._row = None
                async with self._over:
                    self._over.notify_all()
        self._asked.set()

    async def run(self) -> None:
        """Carries out what is asked for, for ever."""
        while True:
            await self._asked.wait()
            while self._row is not None:
                await self._guard.run(self._step)
            self._asked.clear()
            async with self._over:
                self._over.notify_all()

    def _is_done(self, request: str) -> bool:
        return self._row is None or self._row.request != request

    async def _step(self) -> None:
        row = self._row
        assert row is not None  # noqa: S101 - `run` asks for a step of one
        deeds = self._deeds
        match row.phase:
            case "pushing":
                row = replace(row, alert=await self._told(row, "in_progress"))
                await deeds.sync_files()
                await self._exchange()
                await self._go_on(row, "stopping")
            case "stopping":
                for part in reversed(self._parts):
                    await part.hold(WHY)
                    await self._until(partial(self._is_down, part))
                await self._go_on(row, "removing")
            case "removing":
                await self._hold(WHY)
                await deeds.clear_files()
                await self._go_on(row, "starting")
            case _:
                await self._exchange()
                await deeds.sync_files()
                await deeds.again()
                await self._hold("")
                started = await self._until(self._all_settled, START_SECONDS)
                await self._finish(row, complete=started)

    async def _go_on(self, row: RestartRow, phase: Phases) -> None:
        now = replace(row, phase=phase)
        await self._store.put_restart(now)
        self._row = now

    async def _finish(self, row: RestartRow, *, complete: bool) -> None:
        down = sorted(name for name in self._names() if self._phase(name) != "running")
        words = f"restarted; not running: {', '.join(down)}" if down else "restarted"
        await self._told(row, "completed" if complete and not down else "failed", words)
        await self._store.put_restart(replace(row, phase="done", message=words))
        self._row = None

    async def _told(self, row: RestartRow, phase: str, words: str = "") -> str:
        """Tells how far it is; returns the alert's UUID. A restart does not wait for people to hear of it."""
        try:
            if not row.alert and (twins := self._deeds.twins()):
                about = NodeAlert(KIND, f"Restart {row.request}: {WHY}.", {"phase": "requested"})
                row = replace(row, alert=await self._alerts.tell(twins[0], about))
            if row.alert:
                more = {"phase": phase, **({"message": words} if words else {})}
                await self._alerts.amend(row.alert, more)
                if phase in {"completed", "failed"}:
                    await self._alerts.resolve(row.alert)
        except Transient as error:
            log.warning("cannot tell of restart %s: %s", row.request, error)
        return row.alert

    async def _exchange(self) -> None:
        try:
            await self._deeds.exchange(HUB_SECONDS)
        except SkerryError as error:
            log.info("restarting with what is known here: %s", error)

    async def _hold(self, why: str) -> None:
        for part in self._parts:
            await part.hold(why)

    def _names(self) -> list[str]:
        return [name for part in self._parts for name in part.names()]

    def _status(self, name: str) -> WorkloadStatus | None:
        return next((one for one in self._statuses.statuses() if one.workload == name), None)

    def _phase(self, name: str) -> Phase | None:
        status = self._status(name)
        return None if status is None else status.phase

    def _is_down(self, part: Part) -> bool:
        return all(self._phase(name) in {None, *_DOWN} for name in part.names())

    def _all_settled(self) -> bool:
        return all(_is_settled(self._status(name)) for name in self._names())

    async def _until(self, holds: Callable[[], bool], seconds: float | None = None) -> bool:
        """Waits for it; False: it does not hold in time."""
        until = None if seconds is None else self._clock.monotonic_ns() + int(seconds * NS)
        while True:
            seen = self._statuses.news.count
            if holds():
                return True
            left = HUB_SECONDS if until is None else (until - self._clock.monotonic_ns()) / NS
            if left <= 0:
                return False
            await self._statuses.news.within(seen, left, self._clock)


def _is_settled(status: WorkloadStatus | None) -> bool:
    """Whether it runs, or cannot for now."""
    return status is not None and (status.phase in _SETTLED or cannot_start(status))
