"""The documented restart of everything that Cyberwave runs on a device."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skerry.kit.bell import Bell
from skerry.kit.clock import SystemClock
from skerry.kit.errors import Refused
from skerry.kit.sqlite import SqliteWriter, read_migrations
from skerry.node.drivers.restarting import Deeds, EdgeCoreRestart
from skerry.node.store.driver_marks import DriverStore
from skerry.node.store.opening import MIGRATIONS
from skerry.node.twin_ports import NodeAlert
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.memory_alerts import MemoryAlerts
from skerry.testing.waiting import eventually
from skerry.wire.workload import Generation, Phase, WorkloadStatus


class Site:
    """A device with one driver and one worker that end when they are held and start when they are not."""

    def __init__(self, store: DriverStore) -> None:
        self.news = Bell()
        self.phases: dict[str, Phase] = {"driver": "running", "worker": "running"}
        self.deeds: list[str] = []
        self.store = store
        self.alerts = MemoryAlerts()
        self.hub = True
        self.stuck_at = ""
        self.reached = asyncio.Event()
        self.ends = asyncio.Event()
        self.ends.set()
        self.lingers: set[str] = set()
        self.lacks: dict[str, str] = {}
        deeds = Deeds(
            lambda: self.do("sync"), lambda: self.do("clear"), self.exchange, lambda: ["t"], lambda: self.do("again")
        )  # fmt: skip
        parts = [Held(self, "driver"), Held(self, "worker")]
        self.restart = EdgeCoreRestart(
            parts, deeds, self, self.alerts, store, SystemClock(), random.Random(1)
        )

    def statuses(self) -> list[WorkloadStatus]:
        return [
            WorkloadStatus(name, Generation(0, 1), phase, 0, message=self.lacks.get(name, ""))
            for name, phase in self.phases.items()
        ]

    async def do(self, deed: str) -> None:
        if deed == self.stuck_at:
            self.reached.set()
            await asyncio.Event().wait()
        self.deeds.append(deed)

    async def exchange(self, _seconds: float) -> None:
        if not self.hub:
            raise Refused("this node has no hub")
        await self.do("exchange")

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        await self.restart.restore()
        task = asyncio.create_task(self.restart.run())
        try:
            yield
        finally:
            task.cancel()


class Held:
    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.name = name

    async def hold(self, why: str) -> None:
        await self.site.do(f"{'hold' if why else 'release'} {self.name}")
        if why:
            await self.site.ends.wait()
        lingers = self.name in self.site.lingers and self.site.phases[self.name] == "running"
        down: Phase = "stopping" if lingers else "stopped"
        up: Phase = "pending" if self.name in self.site.lacks else "running"
        self.site.phases[self.name] = down if why else up
        self.site.news.ring()

    def names(self) -> Collection[str]:
        return [self.name]


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def writer(tmp_path: Path, disk: FaultyDisk) -> Iterator[SqliteWriter]:
    writer = SqliteWriter(tmp_path / "node.db", read_migrations(MIGRATIONS), disk)
    writer.start()
    yield writer
    writer.stop()


@pytest.fixture
def store(writer: SqliteWriter) -> DriverStore:
    return DriverStore(writer, writer.reader())


STEPS = ["sync", "exchange", "hold worker", "hold driver", "hold driver", "hold worker", "clear", "exchange", "sync", "again", "release driver", "release worker"]  # fmt: skip


async def test_changes_are_pushed_first_then_all_stop_and_everything_starts_anew(
    store: DriverStore,
) -> None:
    site = Site(store)
    alert = await site.alerts.tell("t", NodeAlert("edge_core_restart", "by the hub"))
    async with site.runs():
        assert await site.restart.restart_edge_core("r1", alert) == "restarted"
    assert site.deeds == STEPS
    held = site.alerts.all[alert]
    assert (held.metadata["phase"], held.active) == ("completed", False)
    assert len(site.alerts.all) == 1


async def test_case_31_the_same_request_is_carried_out_once(store: DriverStore) -> None:
    site = Site(store)
    async with site.runs():
        both = await asyncio.gather(*(site.restart.restart_edge_core("r1") for _ in range(2)))
        assert both == ["restarted", "restarted"]
        assert await site.restart.restart_edge_core("r1") == "restarted"
    assert site.deeds == STEPS
    later = Site(store)
    async with later.runs():
        assert await later.restart.restart_edge_core("r1") == "restarted"
    assert later.deeds == []


async def test_case_31_a_second_one_during_the_first_does_nothing_and_says_so(
    store: DriverStore,
) -> None:
    site = Site(store)
    site.ends.clear()
    async with site.runs():
        first = asyncio.create_task(site.restart.restart_edge_core("r1"))
        await eventually(lambda: done("hold worker" in site.deeds), "it stops")
        assert await site.restart.restart_edge_core("r2") == "not done: restart r1 was under way"
        site.ends.set()
        assert await first == "restarted"
        assert await site.restart.restart_edge_core("r2") == "not done: restart r1 was under way"
    assert site.deeds == STEPS


async def test_drivers_end_when_the_workers_have(store: DriverStore) -> None:
    site = Site(store)
    site.lingers.add("worker")
    async with site.runs():
        restart = asyncio.create_task(site.restart.restart_edge_core("r1"))
        await eventually(lambda: site.phases["worker"] == "stopping", "the workers are ending")
        site.news.ring()
        for _ in range(20):
            await asyncio.sleep(0)
        assert "hold driver" not in site.deeds
        site.phases["worker"] = "stopped"
        site.news.ring()
        await eventually(lambda: "hold driver" in site.deeds, "the drivers are next")
        assert await restart == "restarted"


async def done(what: bool) -> bool:
    return what


@pytest.mark.parametrize(
    "deed", ["sync", "exchange", "hold worker", "clear", "again", "release driver"]
)
async def test_a_restart_that_a_kill_has_cut_goes_on_in_the_next_agent(
    store: DriverStore, deed: str
) -> None:
    killed = Site(store)
    killed.stuck_at = deed
    async with killed.runs():
        task = asyncio.create_task(killed.restart.restart_edge_core("r1"))
        await killed.reached.wait()
        task.cancel()
    later = Site(store)
    async with later.runs():
        assert await later.restart.restart_edge_core("r1") == "restarted"
        assert later.deeds[-5:] == STEPS[-5:]
        if deed in {"hold worker", "clear"}:
            assert later.deeds[:2] == ["hold driver", "hold worker"]  # before anything is started
        assert await later.restart.restart_edge_core("r1") == "restarted"
    assert later.deeds.count("again") == 1
    assert not later.alerts.of("edge_core_restart")


async def test_what_cannot_be_started_is_not_waited_for(store: DriverStore) -> None:
    site = Site(store)
    site.lacks["driver"] = "cannot start workload «driver»: its image is not here"
    async with site.runs():
        words = await site.restart.restart_edge_core("r1")
    assert words == "restarted; not running: driver"


async def test_without_a_hub_it_restarts_with_what_is_here(store: DriverStore) -> None:
    site = Site(store)
    site.hub = False
    async with site.runs():
        assert await site.restart.restart_edge_core("r1") == "restarted"
    assert "exchange" not in site.deeds
    assert len(site.alerts.all) == 1


async def test_that_nobody_hears_of_it_is_no_reason_not_to(store: DriverStore) -> None:
    site = Site(store)
    site.alerts.failures = 99
    async with site.runs():
        assert await site.restart.restart_edge_core("r1") == "restarted"


async def test_a_request_that_cannot_be_written_is_not_begun(
    store: DriverStore, disk: FaultyDisk
) -> None:
    site = Site(store)
    async with site.runs():
        disk.fail_after(1)
        with pytest.raises(OSError, match="injected"):
            await site.restart.restart_edge_core("r1")
        assert site.deeds == []
        assert await site.restart.restart_edge_core("r1") == "restarted"
