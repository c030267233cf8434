"""The hub's database is replaced by an older copy: what was acknowledged since comes back, once."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.hub_rig import INCARNATION, HubRig, Lanes, PullingNode, batch, spec, status
from tests.postgres import Postgres, PostgresBackup

from skerry.hub.store import changes
from skerry.testing.manual_clock import ManualClock
from skerry.wire.records import Batch
from skerry.wire.sync import Hello, Lane, PushUnit, StateFrame
from skerry.wire.workload import WorkloadStatus


class RestorableHub:
    """A hub whose database can be set aside and put back; every time, its features start anew."""

    rig: HubRig

    def __init__(self, database: SqliteCopy | PostgresCopy, clock: ManualClock) -> None:
        self._database = database
        self._clock = clock

    async def start(self) -> HubRig:
        self.rig = HubRig(self._database.url, self._clock)
        await self.rig.start()
        await self.rig.retention.prepare(self._clock.wall_ns())
        return self.rig

    async def set_aside(self) -> HubRig:
        self.rig.stop()
        self._database.set_aside()
        return await self.start()

    async def put_back(self) -> HubRig:
        self.rig.stop()
        self._database.put_back()
        return await self.start()


class SqliteCopy:
    def __init__(self, directory: Path) -> None:
        self._file = directory / "hub.db"
        self._copy = directory / "copy.db"
        self.url = f"sqlite:///{self._file}"

    def set_aside(self) -> None:
        shutil.copy(self._file, self._copy)

    def put_back(self) -> None:
        shutil.copy(self._copy, self._file)


class PostgresCopy:
    """By the scripts of the restore drill."""

    def __init__(self, directory: Path, url: str) -> None:
        self._backup = PostgresBackup(directory / "hub.dump", url)
        self.url = url

    def set_aside(self) -> None:
        self._backup.run("backup")

    def put_back(self) -> None:
        self._backup.run("restore")


class Disk:
    """What a node still has of its lanes: every unit that it made."""

    def __init__(self) -> None:
        self._lanes = Lanes()
        self._units: dict[Lane, list[PushUnit]] = {"keep": [], "state": []}

    def make(self, lane: Lane, *frames: Batch | StateFrame) -> PushUnit:
        unit = self._lanes.unit(lane, frames)
        self._units[lane].append(unit)
        return unit

    def after(self, lane: Lane, n: int) -> list[PushUnit]:
        """The units that a hub lacks which has `lane` up to `n`."""
        return [unit for unit in self._units[lane] if unit.first > n]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteCopy | PostgresCopy]:
    if request.param == "sqlite":
        yield SqliteCopy(tmp_path)
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield PostgresCopy(tmp_path, url)


@pytest.fixture
async def restorable(
    database: SqliteCopy | PostgresCopy, manual_clock: ManualClock
) -> AsyncIterator[RestorableHub]:
    hub = RestorableHub(database, manual_clock)
    await hub.start()
    yield hub
    hub.rig.stop()


def measured(first: int, count: int) -> Batch:
    return batch(*range(first, first + count), counter=first, at=first * 10)


@pytest.mark.guarantee("G1")
async def test_what_the_copy_lacks_is_sent_again_and_nothing_is_doubled(
    restorable: RestorableHub,
) -> None:
    hub = restorable.rig
    node_id = (await hub.enrol("n1")).node_id
    disk = Disk()
    await hub.push(node_id, disk.make("keep", measured(1, 10), measured(11, 10)))
    await hub.push(node_id, disk.make("state", StateFrame([status("a", "starting", hlc=1)])))
    hub = await restorable.set_aside()
    await hub.push(node_id, disk.make("keep", measured(21, 10)))
    await hub.push(node_id, disk.make("keep", measured(31, 10)))
    await hub.push(node_id, disk.make("state", StateFrame([status("a", "running", hlc=2)])))
    hub = await restorable.put_back()

    # The node has not noticed and goes on where it was: the reply says where the hub is.
    reply = await hub.push(node_id, disk.make("keep", measured(41, 10)))
    assert (reply.outcome, reply.point.n) == ("gap", 20)
    for unit in disk.after("keep", reply.point.n):
        assert (await hub.push(node_id, unit)).outcome == "ok"
    hello = await hub.greeter.hello(node_id, Hello((1, 1), INCARNATION, "0.1", "boot-1"))
    assert hello.lanes["keep"].n == 50
    [unit] = disk.after("state", hello.lanes["state"].n)
    [row] = (await hub.push(node_id, unit)).rows
    assert msgspec.json.decode(row.body, type=WorkloadStatus).phase == "running"
    rows = (await hub.query.records()).rows
    assert [row.value for row in rows] == list(range(1, 51))


@pytest.mark.guarantee("G1")
async def test_everything_sent_again_from_the_start_is_still_there_once(
    restorable: RestorableHub,
) -> None:
    hub = restorable.rig
    disk = Disk()
    await hub.push("n", disk.make("keep", measured(1, 10)))
    hub = await restorable.set_aside()
    await hub.push("n", disk.make("keep", measured(11, 10)))
    hub = await restorable.put_back()
    for unit in disk.after("keep", 0):
        assert (await hub.push("n", unit)).outcome == "ok"
    rows = (await hub.query.records()).rows
    assert [row.value for row in rows] == list(range(1, 21))


async def test_records_that_the_node_no_longer_has_become_a_gap_that_people_see(
    restorable: RestorableHub,
) -> None:
    hub = restorable.rig
    disk = Disk()
    await hub.push("n", disk.make("keep", measured(1, 10)))
    hub = await restorable.set_aside()
    await hub.push("n", disk.make("keep", measured(11, 10)))
    hub = await restorable.put_back()
    later = msgspec.structs.replace(disk.make("keep", measured(21, 10)), skipped=True)
    assert (await hub.push("n", later)).outcome == "ok"
    [gap] = (await hub.query.records(kind="gap")).rows
    assert (gap.name, gap.value, gap.meta["first"], gap.meta["last"]) == (
        "sync.keep.skipped", 10, 11, 20,
    )  # fmt: skip


async def test_intent_of_the_restored_hub_passes_what_the_nodes_still_have(
    restorable: RestorableHub,
) -> None:
    hub = restorable.rig
    ids = [(await hub.enrol(name)).node_id for name in ("n1", "n2")]
    await hub.apply(spec("a", env={"N": "1"}))
    hub = await restorable.set_aside()
    nodes = [PullingNode(hub, node_id) for node_id in ids]
    for n in range(2, 9):
        await hub.apply(spec("a", env={"N": str(n)}), spec("lost"))
    for node in nodes:
        await node.pull()
    lost = [node.assignments()["a"].generation for node in nodes]
    hub = await restorable.put_back()
    await hub.apply(spec("new"))
    for node, generation in zip(nodes, lost, strict=True):
        node.hub = hub
        [reply] = await node.pull()
        assert reply.full
        assert set(node.assignments()) == {"a", "new"}
        assert node.assignments()["a"].spec.env == {"N": "1"}
        assert node.assignments()["a"].generation > generation
    assert (await hub.store.read(changes.read_log)).epoch == 2
    assert [reply.full for node in nodes for reply in await node.pull()] == [False, False]


@pytest.mark.postgres
async def test_a_backup_is_private_and_a_restore_wants_the_hubs_stopped(
    postgres: Postgres, tmp_path: Path, manual_clock: ManualClock
) -> None:
    with postgres.database() as url:
        copy = PostgresCopy(tmp_path, url)
        hub = RestorableHub(copy, manual_clock)
        await hub.start()
        await hub.rig.enrol("kept")
        copy.set_aside()  # while it runs
        assert stat.S_IMODE((tmp_path / "hub.dump").stat().st_mode) == 0o600
        with pytest.raises(subprocess.CalledProcessError) as refused:
            copy.put_back()
        assert "Stop all hubs first" in refused.value.stderr
        (tmp_path / "hub.dump").write_bytes((tmp_path / "hub.dump").read_bytes()[:2000])
        hub.rig.stop()
        with pytest.raises(subprocess.CalledProcessError):
            copy.put_back()
        await hub.start()  # a torn backup has changed nothing
        assert [view.name for view in await hub.rig.nodes.list()] == ["kept"]
        hub.rig.stop()
