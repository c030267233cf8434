"""A supervisor on a real SQLite file, with wishes and a link in the test's hand."""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

from skerry.keeper.log_rules import LogRules
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import Transient
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import SqliteWriter, read_migrations
from skerry.kit.sqlite_connections import connect
from skerry.node.ports import Launch, ProcessLaunch, Runtime
from skerry.node.store import instances as instances_module
from skerry.node.store.instances import ActualWorkload, InstanceStore
from skerry.node.workloads.executor import Tools
from skerry.node.workloads.needs import AllNeeds, Needs
from skerry.node.workloads.readiness import Prober
from skerry.node.workloads.runtimes.beside import run_beside
from skerry.node.workloads.supervise import Supervisor
from skerry.testing.fake_health import FakeHealth
from skerry.testing.waiting import eventually
from skerry.wire.workload import Assignment, WorkloadStatus

MIGRATIONS = read_migrations(Path(instances_module.__file__).with_name("migrations"))


class Wishes:
    """What the node is asked for; implements `supervise.Desired`."""

    def __init__(self) -> None:
        self.changed = Bell()
        self.wanted: dict[str, Assignment] = {}
        self.offline: Callable[[], float | None] = lambda: None
        self.stopping = False
        self.amended: Callable[[Assignment], Assignment] = lambda wish: wish
        self.remark: Callable[[str], str] = lambda _: ""

    async def assignments(self) -> list[Assignment]:
        return [self.amended(wish) for wish in self.wanted.values()]

    def offline_for(self) -> float | None:
        return self.offline()

    def stop_all(self, workload: str) -> bool:  # noqa: ARG002 - here nothing serves others
        return self.stopping

    def want(self, *assignments: Assignment) -> None:
        """Exactly these from now on."""
        self.wanted = {one.workload: one for one in assignments}
        self.changed.ring()


class Reported:
    """What was reported; implements `supervise.Statuses`."""

    def __init__(self) -> None:
        self.last: dict[str, WorkloadStatus] = {}
        self.forgotten: list[str] = []

    async def report(self, status: WorkloadStatus) -> None:
        self.last[status.workload] = status

    async def forget(self, workload: str) -> None:
        self.last.pop(workload, None)
        self.forgotten.append(workload)


class Surroundings:
    """What probes ask: HTTP servers by URL, values by workload. Implements `HttpStatus` and `PublishedValues`."""

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.bell = Bell()
        self.values: dict[tuple[str, str], int] = {}

    async def status(self, url: str, _timeout: float) -> int:
        if url not in self.answers:
            raise Transient(f"cannot reach {url}: connection refused")
        return self.answers[url]

    def last(self, workload: str, pattern: str, _instance: str) -> int | None:
        return self.values.get((workload, pattern))


def nothing_needed(_writer: SqliteWriter, _reader: sqlite3.Connection) -> Needs:
    return AllNeeds([])


def process_launch(
    assignment: Assignment, instance: str, directory: Path = Path("/")
) -> ProcessLaunch:
    """As the usual one, with as little as there can be."""
    spec = assignment.spec
    assert spec.process is not None
    return ProcessLaunch(
        instance=instance,
        workload=assignment.workload,
        command=tuple(spec.process.command),
        environment=spec.env,
        directory=directory,
        log=directory / f"{assignment.workload}.log",
        strict=False,
        log_rules=LogRules(spec.logs.max_size, spec.logs.files),
        limits={},
    )


class Rig:
    """One device's disk and runtime; agents come and go with `start` and `stop`."""

    def __init__(
        self, directory: Path, runtime: Runtime, clock: Clock, disk: Disk | None = None
    ) -> None:
        self.directory = directory
        self.runtime = runtime
        self.clock = clock
        self.disk = disk or RealDisk()
        self.wishes = Wishes()
        self.reported = Reported()
        self.around = Surroundings()
        self.launch_for = self.plain_launch
        self.needs_on: Callable[[SqliteWriter, sqlite3.Connection], Needs] = nothing_needed
        self.memory_limit: int | None = None

    def plain_launch(self, assignment: Assignment, instance: str) -> Launch:
        return process_launch(assignment, instance, self.directory)

    async def start(self) -> None:
        """A new agent."""
        path = self.directory / "node.db"
        self._writer = SqliteWriter(path, MIGRATIONS, self.disk)
        self._writer.start()
        self._reader = connect(path, read_only=True)
        self.store = InstanceStore(self._writer, self._reader, NullCipher())
        prober = Prober(
            self.around.status, self.around, self.launch_for, run_beside, FakeHealth(), self.clock
        )
        tools = Tools(
            self.store,
            self.runtime,
            self.launch_for,
            self.clock,
            random.Random(1),
            self.disk,
        )
        needs = self.needs_on(self._writer, self._reader)
        self.supervisor = Supervisor(
            tools, self.wishes, self.reported, needs, prober, self.memory_limit
        )
        self.task = asyncio.create_task(self.supervisor.run())

    async def stop(self) -> None:
        """The agent ends; what it started goes on."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        await self.runtime.close()
        self._reader.close()
        self._writer.stop()
        self.reported.last.clear()

    async def restart(self) -> None:
        """The agent ends and another one begins."""
        await self.stop()
        await self.start()

    def rows(self) -> dict[str, ActualWorkload]:
        return self.store.load()

    def phases(self) -> dict[str, str]:
        return {name: row.phase for name, row in self.rows().items()}

    def last(self, name: str) -> WorkloadStatus | None:
        return self.reported.last.get(name)

    async def until(self, name: str, phase: str) -> WorkloadStatus:
        """Waits until the reported phase of `name` is `phase`."""

        def reached() -> bool:
            status = self.last(name)
            return status is not None and status.phase == phase

        await eventually(reached, f"{name} is {phase}")
        status = self.last(name)
        assert status
        return status
