"""What becomes of drivers: marks in a real database, and what people are told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.driver_rig import ARM, OTHER, Rig, camera, twin, with_config

from skerry.kit.bell import Bell
from skerry.kit.disk import RealDisk
from skerry.kit.errors import NotFound, Transient
from skerry.kit.sqlite import SqliteWriter, read_migrations
from skerry.node.drivers.device import Served
from skerry.node.drivers.telling import Teller
from skerry.node.drivers.watching import Around, DriverWatch
from skerry.node.store.driver_marks import DriverStore
from skerry.node.store.opening import MIGRATIONS
from skerry.testing.memory_alerts import HeldAlert, MemoryAlerts
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit, Phase, WorkloadStatus

NAME = f"cyberwave-driver-{ARM[:8]}"


class Board:
    """Statuses as the test sets them."""

    def __init__(self) -> None:
        self.news = Bell()
        self.known: dict[str, WorkloadStatus] = {}
        self.errors: list[Exception] = []

    def statuses(self) -> list[WorkloadStatus]:
        if self.errors:
            raise self.errors.pop()
        return list(self.known.values())


class Watched:
    """A device with drivers that nobody starts: the test says what becomes of them."""

    def __init__(self, writer: SqliteWriter, rig: Rig, alerts: MemoryAlerts) -> None:
        self.rig = rig
        self.board = Board()
        self.alerts = alerts
        self.store = DriverStore(writer, writer.reader())
        self.clock = rig.clock
        around = Around(self.board, lambda: rig.served, lambda: rig.device)
        self.teller = Teller(alerts, rig.clock, random.Random(1))
        self.watch = DriverWatch(around, self.store, self.teller, rig.clock, random.Random(1))
        self.watch.restore()
        rig.hold = self.watch.held

    async def see(
        self,
        phase: Phase,
        restarts: int = 0,
        *,
        code: int | None = None,
        seconds: float = 0,
        message: str = "",
    ) -> float | None:
        """After so many seconds, the driver is like this; looks, and tells what there is to tell."""
        self.clock.advance(seconds)
        ended = None if code is None else Exit(code=code, at=self.clock.wall_ns())
        before = self.board.known.get(NAME)
        since = before.since if before and before.phase == phase else self.clock.wall_ns()
        self.board.known[NAME] = WorkloadStatus(
            NAME, (await self.rig.look())[NAME].generation, phase, since, restarts=restarts, exit=ended, message=message
        )  # fmt: skip
        return await self.look()

    async def crash(self, restarts: int, seconds: float = 1) -> None:
        """It ends, and is started again."""
        await self.see("running", restarts, code=1, seconds=seconds)

    async def look(self) -> float | None:
        await self.rig.look()
        pause = await self.watch.look(self.rig.workloads)
        await self.rig.look()
        await self.told()
        return pause

    async def told(self) -> None:
        """Everything that was to be told has been."""
        task = asyncio.create_task(self.teller.run())
        await eventually(self._is_told, "everything was told")
        task.cancel()

    async def held(self) -> str:
        return (await self.rig.look())[NAME].local.held

    async def _is_told(self) -> bool:
        self.clock.advance(0)
        return self.teller.is_idle

    def alert(self, kind: str) -> HeldAlert:
        (found,) = self.alerts.of(kind)
        return found


@contextmanager
def database(directory: Path) -> Iterator[SqliteWriter]:
    writer = SqliteWriter(directory / "node.db", read_migrations(MIGRATIONS), RealDisk())
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SqliteWriter]:
    with database(tmp_path) as writer:
        yield writer


@pytest.fixture
def watched(tmp_path: Path, writer: SqliteWriter) -> Watched:
    return Watched(writer, Rig(tmp_path, twin()), MemoryAlerts())


async def test_a_start_is_told_from_its_beginning_to_its_end(watched: Watched) -> None:
    await watched.look()
    assert watched.alert("driver_starting").metadata["phase"] == "requested"
    await watched.see("pending", message="pulling image x: waiting for the registry")
    assert watched.alert("driver_starting").metadata["phase"] == "pull_started"
    await watched.see("starting")
    assert await watched.see("running") == 5.0
    assert watched.alert("driver_starting").metadata["phase"] == "container_running"
    assert watched.alert("driver_starting").metadata["container_name"] == NAME
    await watched.see("running", seconds=5)
    assert not watched.alerts.of("driver_starting")
    assert len(watched.alerts.all) == 1


async def test_case_21_a_failed_start_names_twin_image_reason_and_where_to_read_on(
    watched: Watched,
) -> None:
    config = {"CYBERWAVE_DRIVER_TROUBLESHOOTING_URL": "https://docs.example/x"}
    watched.rig.device = with_config(watched.rig.device, variables=config)
    await watched.see("starting")
    for restarts in range(4):
        await watched.see("backoff", restarts, code=1, seconds=20)
        await watched.see("starting", restarts + 1, code=1)
    told = watched.alert("driver_start_failure")
    assert ARM in told.description
    assert "example/arm-driver:1" in told.description
    assert "code 1" in told.description
    assert told.description.endswith("https://docs.example/x")
    assert told.count == 1
    assert not watched.alerts.of("driver_starting")
    await watched.see("running", 4, code=1)
    await watched.see("running", 4, code=1, seconds=5)
    assert not watched.alerts.of("driver_start_failure")


async def test_a_look_that_failed_is_made_again_though_nothing_changes(watched: Watched) -> None:
    await watched.rig.look()
    watched.board.errors = [Transient("the disk is full")]
    task = asyncio.create_task(watched.watch.run(watched.rig.workloads))

    async def has_looked() -> bool:
        watched.clock.advance(1)
        return ARM in watched.watch.marks()

    await eventually(has_looked, "the next look")
    task.cancel()


async def test_case_23_four_restarts_in_a_minute_are_nobodys_concern(watched: Watched) -> None:
    await watched.see("starting")
    await watched.see("running")
    for restarts in range(1, 5):
        await watched.crash(restarts)
    await watched.see("running", 4, seconds=30)
    assert not [one for one in watched.alerts.all.values() if one.active]
    assert not [one for one in watched.alerts.all.values() if one.kind != "driver_starting"]
    assert not await watched.held()


async def test_the_fifth_restart_stops_and_marks_it_and_the_alert_says_all(
    watched: Watched,
) -> None:
    await watched.see("running")
    for restarts in range(1, 6):
        await watched.crash(restarts, 7)
    assert (await watched.held()).startswith("flapping: ")
    told = watched.alert("driver_restart_loop")
    for word in (
        NAME,
        ARM,
        "5 times",
        "60 seconds",
        "5 restarts in total",
        "stopped automatically",
    ):
        assert word in told.description
    assert told.description.endswith("https://docs.cyberwave.com")
    assert told.metadata["total_restarts"] == 5
    await watched.see("stopped", 5, code=1)
    assert watched.alert("driver_restart_loop").count == 1


async def test_the_mark_and_its_alert_are_there_for_the_next_agent(
    tmp_path: Path, watched: Watched
) -> None:
    alerts = watched.alerts
    for restarts in range(4):
        await watched.crash(restarts)
    watched.clock.advance(1)
    await watched.rig.look()
    ended = Exit(code=1, at=watched.clock.wall_ns())
    watched.board.known[NAME] = replace(watched.board.known[NAME], restarts=5, exit=ended)
    await watched.watch.look(watched.rig.workloads)  # killed before it has told anybody
    assert not alerts.of("driver_restart_loop")
    with database(tmp_path) as writer:
        later = Watched(writer, Rig(tmp_path, twin()), alerts)
        later.clock.advance(10)
        assert (await later.held()).startswith("flapping: ")
        await later.see("stopped", 5, code=1)
        assert later.alert("driver_restart_loop").count == 1


async def test_ends_while_no_agent_was_there_count(
    tmp_path: Path, watched: Watched, writer: SqliteWriter
) -> None:
    await watched.see("running")
    for restarts in range(1, 4):
        await watched.crash(restarts)
    later = Watched(writer, Rig(tmp_path, twin()), watched.alerts)
    later.clock.advance(6)
    await later.crash(5)
    assert (await later.held()).startswith("flapping: ")


async def test_it_is_tried_after_ten_minutes_and_the_mark_goes_with_a_long_life(
    watched: Watched,
) -> None:
    await watched.see("running")
    for restarts in range(1, 6):
        await watched.crash(restarts)
    assert await watched.see("stopped", 0, code=1, seconds=10) == 590.0
    await watched.see("stopped", 0, code=1, seconds=590)
    assert not await watched.held()
    await watched.see("running", 0, code=1, seconds=1)
    await watched.see("backoff", 0, code=1, seconds=30)
    await watched.crash(1)
    assert await watched.held()
    await watched.see("stopped", 0, code=1, seconds=600)
    await watched.see("running", 0, code=1)
    await watched.see("running", 0, code=1, seconds=59)
    assert watched.alerts.of("driver_restart_loop")
    await watched.see("running", 0, code=1, seconds=2)
    assert not watched.alerts.of("driver_restart_loop")
    assert watched.watch.marks()[ARM].since is None


@pytest.mark.parametrize("how", ["image", "metadata", "person"])
async def test_another_image_other_metadata_or_a_person_starts_it_at_once(
    watched: Watched, how: str
) -> None:
    for restarts in range(6):
        await watched.crash(restarts)
    assert await watched.held()
    if how == "person":
        await watched.watch.clear(ARM)
        with pytest.raises(NotFound):
            await watched.watch.clear(OTHER)
    else:
        changed = {"image": {"drivers": {"default": "example/other:2"}}}
        metadata = changed.get(how, {**watched.rig.served[0].body["metadata"], "port": 3})
        watched.rig.served = [twin(ARM, **metadata)]
    await watched.look()
    assert not await watched.held()
    await watched.see("stopped", 5, code=1)
    assert not watched.alerts.of("driver_restart_loop")
    await watched.see("running", 0, code=1)
    await watched.crash(1)
    assert not await watched.held()


async def test_what_a_driver_itself_writes_into_its_twin_is_no_reason(watched: Watched) -> None:
    for restarts in range(6):
        await watched.crash(restarts)
    metadata = {**watched.rig.served[0].body["metadata"], "mqtt": {"commands": []}}
    watched.rig.served = [twin(ARM, **metadata)]
    await watched.look()
    assert await watched.held()


async def test_case_17_what_cannot_run_is_told_once_and_taken_back(
    tmp_path: Path, writer: SqliteWriter
) -> None:
    rig = Rig(tmp_path, twin(), twin(OTHER, x=1))
    watched = Watched(writer, rig, MemoryAlerts())
    await watched.see("running")
    await watched.look()
    told = watched.alert("error")
    assert (told.twin, told.count) == (OTHER, 1)
    rig.served = [twin(), twin(OTHER)]
    await watched.look()
    assert not watched.alerts.of("error")


async def test_an_alert_that_cannot_be_stored_is_tried_again(watched: Watched) -> None:
    watched.alerts.failures = 3
    for restarts in range(6):
        watched.clock.advance(1)
        await watched.rig.look()
        ended = Exit(code=1, at=watched.clock.wall_ns())
        watched.board.known[NAME] = WorkloadStatus(
            NAME, (await watched.rig.look())[NAME].generation, "running", 0, restarts=restarts, exit=ended
        )  # fmt: skip
        await watched.watch.look(watched.rig.workloads)
    task = asyncio.create_task(watched.teller.run())

    async def is_told() -> bool:
        watched.clock.advance(30)
        return bool(watched.alerts.of("driver_restart_loop"))

    await eventually(is_told, "it was told")
    task.cancel()
    assert watched.alert("driver_restart_loop").count == 1


async def test_a_twin_that_is_not_this_devices_any_more_is_forgotten(watched: Watched) -> None:
    for restarts in range(6):
        await watched.crash(restarts)
    watched.rig.served = []
    await watched.look()
    assert watched.store.marks() == {}


async def test_a_start_that_another_takes_the_place_of_is_over(watched: Watched) -> None:
    await watched.look()
    await watched.see("running", seconds=1)
    watched.rig.served = [twin(ARM, "-e", "A=1")]
    await watched.see("stopping", seconds=1)
    assert not watched.alerts.of("driver_starting")
    await watched.see("starting", seconds=1)
    assert watched.alert("driver_starting").metadata["phase"] == "container_created"


async def test_a_start_that_an_earlier_agent_has_told_of_is_over_with_the_next_one(
    watched: Watched, writer: SqliteWriter
) -> None:
    await watched.look()
    again = Watched(writer, watched.rig, watched.alerts)
    await again.see("starting", seconds=1)
    assert len(watched.alerts.of("driver_starting")) == 1
    await again.see("running", seconds=1)
    await again.see("running", seconds=6)
    assert not watched.alerts.of("driver_starting")


async def test_of_a_driver_that_nobody_wants_any_more_nothing_is_left_to_be_told(
    watched: Watched,
) -> None:
    await watched.see("starting")
    await watched.see("failed", message="no such image")
    watched.rig.barred = "nobody has signed in"
    await watched.look()
    assert watched.alert("driver_start_failure")
    watched.rig.served = [twin(x=1)]
    await watched.look()
    assert not [*watched.alerts.of("driver_starting"), *watched.alerts.of("driver_start_failure")]
    assert watched.alert("error").count == 1


@pytest.mark.parametrize("served", [[twin(x=1)], [camera(ARM, OTHER), twin(OTHER)]])
async def test_a_twin_without_a_driver_of_its_own_flaps_no_more(
    watched: Watched, served: list[Served]
) -> None:
    """Its drivers were taken away, or it is another one's camera by now. What cannot be started now keeps its mark."""
    for restarts in range(6):
        await watched.crash(restarts)
    assert watched.alert("driver_restart_loop")
    watched.rig.served = [twin(ARM, "--unknown")]
    await watched.look()
    assert watched.watch.marks()[ARM].since is not None
    watched.rig.served = served
    await watched.look()
    assert ARM not in watched.watch.marks()
    assert not watched.alerts.of("driver_restart_loop")
