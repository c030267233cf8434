"""Watches the scripts of every worker group and carries out what `reload` decides.

Implements `workloads.needs.Needs` (a group waits for its directory) and `desired_state.LocalWishes`. Events make it
quick; besides them it looks every LOOK_EVERY, so a change that no event tells (a network file system, a link far
above the directory) is late but never lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.directory_watch import DirectoryWatch
from skerry.kit.errors import NotFound
from skerry.kit.tasks import Guard
from skerry.kit.units import write_duration
from skerry.node.store.instances import ActualWorkload, InstanceStore
from skerry.node.store.workers import Scripts, WorkerStore
from skerry.node.workloads.transitions import Moment
from skerry.node.workloads.workers import reload
from skerry.node.workloads.workers.intents import Intents
from skerry.node.workloads.workers.report import Seen, listed, waits, worker_statuses
from skerry.node.workloads.workers.scripts import Look, Scan, look_at
from skerry.wire.local import WorkerStatus
from skerry.wire.workload import Assignment, WorkerSpec

LOOK_EVERY = 15.0
LOOK_EVERY_BLIND = 2.0
"""Seconds; the second where directories cannot be watched."""

LOOK_SECONDS = 10.0
"""A directory that takes longer does not hold up the others."""

Order = Literal["start", "stop", "restart"]

log = logging.getLogger(__name__)

_UNREAD = "its scripts are being read"


class _Known(msgspec.Struct, frozen=True):
    """What a group's directory had when it was last looked at, and what the decision about it was."""

    look: Look
    seen: int
    remark: str = ""
    due: int | None = None


class WorkerGroups:
    """`run` watches and decides; the other calls may come at any time, in the same event loop."""

    def __init__(
        self,
        store: WorkerStore,
        instances: InstanceStore,
        scan: Scan,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self.changed = Bell()
        self._store = store
        self._instances = instances
        self._scan = scan
        self._clock = clock
        self._guard = Guard("worker groups", clock, chance)
        self._bell = Bell()
        self._intents = Intents(store, self._moment)
        self.told = self._intents.told
        self._watch = DirectoryWatch(self._bell)
        self._wanted: dict[str, WorkerSpec] = {}
        self._known: dict[str, _Known] = {}
        self._looking: dict[str, asyncio.Task[Look]] = {}

    def want(self, assignments: Iterable[Assignment]) -> None:
        """The groups among these, and no others, are watched."""
        wanted = {one.workload: one.spec.worker for one in assignments if one.spec.worker}
        if wanted == self._wanted:
            return
        for name in self._wanted.keys() | wanted.keys():
            if self._wanted.get(name) != wanted.get(name):
                self._known.pop(name, None)
                self._looking.pop(name, None)
        self._wanted = wanted
        self._bell.ring()

    def missing(self, assignment: Assignment) -> str:
        """Why the group cannot be started yet; empty when nothing is missing."""
        if assignment.spec.worker is None:
            return ""
        known = self._known.get(assignment.workload)
        if known is None:
            return _UNREAD
        return known.look.problem or ("" if self._intents.holds(assignment) else _UNREAD)

    async def check(self, assignment: Assignment) -> None:
        """Nothing to look at: what the scripts are when the worker reads them is what counts."""

    async def close(self) -> None:
        """Watches nothing any more."""
        self._watch.close()

    def amended(self, wish: Assignment) -> Assignment:
        """The assignment with what this device adds."""
        return self._intents.amended(wish)

    def remark(self, workload: str) -> str:
        """What its status should say besides."""
        known = self._known.get(workload)
        return "" if known is None else known.remark

    async def order(self, workload: str, order: Order, by: str) -> None:
        """«start», «stop» or «restart»: durable when this returns. Raises NotFound."""
        if workload not in self._wanted:
            raise NotFound(f"cannot {order} «{workload}»: this node has no such worker group")
        match order:
            case "start":
                await self._start(workload, by)
            case "stop":
                await self._intents.stop(workload, by)
            case "restart":
                await self._intents.restart(workload, by)

    def statuses(self) -> list[WorkerStatus]:
        """Every group as it is now, by name."""
        moment = self._moment()
        seen = {name: Seen(known.look, known.seen) for name, known in self._known.items()}
        return worker_statuses(
            self._instances.load(), self._store, seen, moment, watched=self._watching()
        )

    async def run(self) -> None:
        """Watches until cancelled."""
        try:
            while True:
                await self._guard.run(self._once)
        finally:
            self._watch.close()

    async def _once(self) -> None:
        seen = self._bell.count
        if not self._wanted:
            await self._watch.watch(())
            await self._bell.after(seen)
            return
        wanted = dict(self._wanted)
        looks = await asyncio.gather(*(self._look(name, spec) for name, spec in wanted.items()))
        for (name, spec), look in zip(wanted.items(), looks, strict=True):
            await self._tend(name, spec, look)
        answering = {name for name, task in self._looking.items() if task.done()}
        directories = [Path(self._wanted[name].scripts) for name in answering & self._wanted.keys()]
        if await self._watch.watch(directories):
            return  # look again: something may have happened before it was watched
        await self._bell.within(seen, self._pause(), self._clock)

    def _pause(self) -> float:
        now = self._moment().monotonic
        due = [(known.due - now) / NS for known in self._known.values() if known.due is not None]
        return max(min([LOOK_EVERY_BLIND if self._watch.trouble else LOOK_EVERY, *due]), 0.01)

    async def _tend(self, name: str, spec: WorkerSpec, look: Look) -> None:
        before = self._known.get(name)
        now = self._moment().monotonic
        fresh = before is None or before.look.files != look.files
        known = _Known(look, now if before is None or fresh else before.seen)
        if look.problem:
            known = replace(known, remark=look.problem)
        else:
            known = await self._settle(name, spec, known)
        if self._wanted.get(name) != spec:
            return
        self._known[name] = known
        if before is None or before.look.problem != look.problem:
            self.changed.ring()
        if before is None or before.remark != known.remark:
            self.told.ring()

    async def _settle(self, name: str, spec: WorkerSpec, known: _Known) -> _Known:
        """Compares the directory with what the worker was started with, and does what follows."""
        row = self._store.row(name)
        if row is None:
            await self._intents.take_up(name, await self._scripts(name, spec, known.look))
            return known
        files = reload.changed_files(row.scripts.files, known.look.files)
        if not files:
            return known
        decision = reload.decide(
            reload.Change(files, known.seen),
            self._reader_of(name, spec),
            row.reloads,
            self._store.past(name),
            spec.reload_delay,
            self._moment(),
        )
        match decision:
            case reload.TakenUp():
                await self._intents.take_up(name, await self._scripts(name, spec, known.look))
            case reload.Reload():
                scripts = await self._scripts(name, spec, known.look)
                await self._intents.reload(name, scripts, listed(files))
            case reload.Later(until=until, why=why):
                return replace(known, remark=waits(files, why, spec), due=until)
        return known

    def _reader_of(self, name: str, spec: WorkerSpec) -> ActualWorkload | None:
        """The workload, unless its worker reads other files than these and is about to be replaced."""
        actual = self._instances.read(name)
        worker = None if actual is None else actual.assignment.spec.worker
        if worker is None or (worker.scripts, worker.pattern) != (spec.scripts, spec.pattern):
            return None
        return actual

    async def _scripts(self, name: str, spec: WorkerSpec, look: Look) -> Scripts:
        found = await asyncio.to_thread(self._scan, Path(spec.scripts), list(look.files))
        for doubt in found.doubts:
            log.warning("models of worker group «%s» are unclear: %s", name, doubt)
        doubts, refused = list(found.doubts), dict(found.refused)
        return Scripts(dict(look.files), list(found.models), doubts, refused)

    async def _look(self, name: str, spec: WorkerSpec) -> Look:
        """One look at a time for each group: what hangs would hang again."""
        task = self._looking.get(name)
        if task is None or task.done():
            task = asyncio.create_task(asyncio.to_thread(look_at, spec), name=f"look at «{name}»")
            self._looking[name] = task
        done, _ = await asyncio.wait({task}, timeout=LOOK_SECONDS)
        if done:
            return task.result()
        return Look({}, problem=f"cannot read directory {spec.scripts}: it does not answer")

    async def _start(self, workload: str, by: str) -> None:
        actual, row = self._instances.read(workload), self._store.row(workload)
        stopped = row is not None and row.stopped_at is not None
        if stopped or actual is None or actual.instance is None:
            await self._intents.start(workload, by)

    def _watching(self) -> str:
        if self._watch.trouble:
            return f"every {write_duration(LOOK_EVERY_BLIND)}: {self._watch.trouble}"
        return "at once"

    def _moment(self) -> Moment:
        clock = self._clock
        return Moment(clock.wall_ns(), clock.monotonic_ns(), clock.boot_id())
