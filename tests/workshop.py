"""A worker group on a real store and a real directory, with a runtime in memory and time in the test's hand."""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from tests.workload_cases import wish
from tests.workload_rig import Rig

from skerry.kit.bell import Bell
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import SqliteWriter
from skerry.node.store.instances import InstanceStore
from skerry.node.store.workers import WorkerStore
from skerry.node.workloads.needs import AllNeeds, Needs
from skerry.node.workloads.workers.groups import WorkerGroups
from skerry.node.workloads.workers.scripts import Found
from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.local import WorkerStatus
from skerry.wire.workload import Assignment, WorkerSpec


def models_named(directory: Path, names: Iterable[str]) -> Found:
    """The models of these tests' scripts: what stands behind «model:»."""
    texts = [(directory / name).read_text() for name in names]
    return Found(tuple(text.removeprefix("model:") for text in texts if text[:6] == "model:"))


class Shelf:
    """Models that are there; implements `Needs`."""

    def __init__(self) -> None:
        self.changed = Bell()
        self.there: set[str] = set()

    def want(self, assignments: Iterable[Assignment]) -> None:
        pass

    def missing(self, assignment: Assignment) -> str:
        lacking = [name for name in assignment.local.models if name not in self.there]
        return f"fetches {', '.join(lacking)}" if lacking else ""

    async def check(self, assignment: Assignment) -> None:
        pass

    async def close(self) -> None:
        pass


class Workshop:
    """A rig whose group «a» runs the scripts of `directory`."""

    def __init__(self, rig: Rig, runtime: FakeRuntime, clock: ManualClock) -> None:
        self.rig = rig
        self.runtime = runtime
        self.clock = clock
        self.directory = rig.directory / "w"
        self.shelf = Shelf()
        self.watching: asyncio.Task[None] | None = None
        rig.needs_on = self._needs

    def _needs(self, writer: SqliteWriter, reader: sqlite3.Connection) -> Needs:
        self.store = WorkerStore(writer, reader, NullCipher())
        instances = InstanceStore(writer, reader, NullCipher())
        groups = WorkerGroups(self.store, instances, models_named, self.clock, random.Random(3))
        self.groups = groups
        self.rig.wishes.amended = groups.amended
        self.rig.wishes.remark = groups.remark
        self.watching = asyncio.create_task(self._watch(groups))
        return AllNeeds([groups, self.shelf])

    async def _watch(self, groups: WorkerGroups) -> None:
        async def relay() -> None:
            seen = 0
            while True:
                seen = await groups.told.after(seen)
                self.rig.wishes.changed.ring()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(relay())
            tasks.create_task(groups.run())

    async def restart_agent(self) -> None:
        await self.end()
        await self.rig.restart()

    async def end(self) -> None:
        assert self.watching is not None
        self.watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.watching

    def want(self, n: int = 1, **fields: object) -> None:
        worker = WorkerSpec(str(fields.pop("scripts", self.directory)))
        self.rig.wishes.want(wish("a", n, process=None, worker=worker, **fields))

    def write(self, text: str, name: str = "x.py") -> None:
        self.directory.mkdir(exist_ok=True)
        (self.directory / name).write_text(text)

    def status(self) -> WorkerStatus:
        [found] = self.groups.statuses()
        return found

    def history(self) -> list[tuple[str, str]]:
        return [(one.cause, one.detail) for one in self.store.past("a")]

    async def starts(self, count: int) -> None:
        def reached() -> bool:
            return len(self.runtime.launched) == count and self.rig.phases() == {"a": "running"}

        await eventually(reached, f"{count} starts: {len(self.runtime.launched)}")

    async def looks_again(self) -> None:
        """Returns when a look at the directory that began after this call has ended."""
        looking = self.groups._looking

        def looked(before: object) -> bool:
            now = looking.get("a")
            return now is not None and now is not before and now.done()

        for _ in range(2):  # the first one may have begun before
            before = looking.get("a")
            self.groups._bell.ring()
            await eventually(partial(looked, before), "a look")

    async def message(self, words: str) -> None:
        def says() -> bool:
            last = self.rig.last("a")
            return last is not None and words in last.message

        await eventually(says, f"{words}: {self.rig.last('a')}")

    async def waits(self, words: str) -> None:
        def told() -> bool:
            change = self.status().change
            return change is not None and words in change.reason

        await eventually(told, f"a change waits: {words}")
