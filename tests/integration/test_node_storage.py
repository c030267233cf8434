"""A node fills its room on the disk: what it can do without goes in order, what the hub does not have stays."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.limits_rig import LimitedNode
from tests.record_rig import held, submission

from skerry.kit.errors import StorageFull
from skerry.node.ports import Living
from skerry.testing.manual_clock import ManualClock
from skerry.wire.codec import decode
from skerry.wire.records import Batch
from skerry.wire.workload import Assignment, Generation, ProcessSpec, Resources, WorkloadSpec

MB = 1_000_000
LIMIT = 40 * MB
TMP = ["tmp/a", "tmp/b/c"]
LOGS = ["logs/cam/current.log.2", "logs/cam/current.log.1"]
MODELS = ["models/one", "models/two"]
STAYS = [
    "logs/cam/current.log",
    "workloads/cam/data",
    "identity.json",
    "logs/cam/current.log.out.fifo",
]


@pytest.fixture
async def node(tmp_path: Path, manual_clock: ManualClock) -> AsyncIterator[LimitedNode]:
    node = LimitedNode(tmp_path, LIMIT, clock=manual_clock)
    await node.records.start()
    yield node
    await node.records.stop()


def events(node: LimitedNode) -> list[str]:
    """Names of what the node has told, oldest first."""
    found = []
    for segment in node.records.segments("event"):
        for frame in node.records.frames("event", segment):
            batch = decode(frame.payload, Batch, "frame")
            found += [record.name for record in batch.records]
    return found


@pytest.mark.guarantee("G1")
async def test_filled_to_its_limit_everything_goes_in_order_and_nothing_unsent(
    node: LimitedNode,
) -> None:
    node.lay(*TMP, *LOGS, *MODELS, *STAYS)
    await node.publish(50)  # 10 MB, of which the hub has all and half is in a backup
    node.records.acknowledge("keep", 50)
    node.backed_up["keep"] = 25
    await node.watch.once()
    order: list[str] = []
    unsent = 0
    while True:
        try:
            await node.publish(1)
        except StorageFull as error:
            cause = str(error)
            break
        unsent += 1
        gone = {
            "tmp": len(node.there(TMP)) < 2,
            "logs": len(node.there(LOGS)) < 2,
            "backed up": node.records.base("keep").n > 0,
            "models": len(node.there(MODELS)) < 2,
            "acknowledged": node.records.base("keep").n > 25,
        }
        order += [name for name, began in gone.items() if began and name not in order]
        assert not gone["logs"] or not node.there(TMP)
        assert not gone["backed up"] or not node.there(LOGS)
        assert not gone["models"] or node.records.base("keep").n > 20
        assert not gone["acknowledged"] or not node.there(MODELS)
    assert order == ["tmp", "logs", "backed up", "models", "acknowledged"]
    assert node.used() <= LIMIT * 1.05
    assert "limit of 40 MB (runtime.max_storage_usage) is reached. Connect the hub" in cause
    assert node.there(STAYS) == STAYS
    assert unsent > 100
    assert [n for _, n, _ in held(node.records)][-unsent:] == list(range(51, 51 + unsent))
    assert "skerry.storage.freed" in events(node)
    with pytest.raises(StorageFull):
        await node.publish(1)
    node.records.acknowledge("keep", 50 + unsent)
    await node.publish(1)
    assert node.used() <= LIMIT * 1.05


async def test_below_its_limit_nothing_goes(node: LimitedNode) -> None:
    node.lay(*TMP, *LOGS, *MODELS)
    await node.publish(25)
    node.records.acknowledge("keep", 25)
    await node.watch.once()
    assert node.there([*TMP, *LOGS, *MODELS]) == [*TMP, *LOGS, *MODELS]
    assert node.records.base("keep").n == 0
    usage = node.watch.usage
    assert usage is not None
    assert set(usage.classes) == {"logs", "models", "tmp", "reserve", "records acknowledged"}
    assert abs(usage.used - node.used()) < MB


async def test_a_pass_makes_room_before_the_limit_is_reached(node: LimitedNode) -> None:
    await node.watch.once()  # takes the reserve up
    node.lay(*TMP, size=4 * MB)
    node.lay("workloads/cam/data", size=30 * MB)
    await node.watch.once()
    assert node.there(TMP) == ["tmp/b/c"]  # the older one was enough
    node.lay("workloads/cam/data", size=34 * MB)
    await node.watch.once()
    assert node.there(TMP) == []
    assert events(node) == []
    node.lay("workloads/cam/data", size=36 * MB)
    for _ in range(2):
        await node.watch.once()
    assert events(node) == ["skerry.storage.high"]


async def test_logs_that_wait_to_be_shipped_stay(node: LimitedNode) -> None:
    node.lay(*LOGS, "logs/lidar/current.log.1")
    node.unsent = "lidar"
    await node.until_refused()
    assert node.there([*LOGS, "logs/lidar/current.log.1"]) == ["logs/lidar/current.log.1"]


async def test_nothing_is_searched_again_and_again_in_vain(
    node: LimitedNode, manual_clock: ManualClock
) -> None:
    await node.until_refused()
    node.lay(*TMP, size=2 * MB)
    with pytest.raises(StorageFull):
        await node.publish(1)
    assert node.there(TMP) == TMP
    manual_clock.advance(6)
    with pytest.raises(
        StorageFull
    ):  # what came since the limit was reached is gone, and that is all
        await node.publish(1)
    assert node.there(TMP) == []


async def test_events_of_freed_records_do_not_feed_each_other(node: LimitedNode) -> None:
    await node.publish(50)
    node.records.acknowledge("keep", 50)
    await node.until_refused()
    told = events(node).count("skerry.storage.freed")
    assert told > 0
    for _ in range(50):  # the hub takes the events, too; workloads go on trying
        node.records.acknowledge("event", node.records.head("event").n)
        node.records.acknowledge("sample", 0)
        with pytest.raises(StorageFull):
            await node.records.append(submission(node.accepted + 1, "small"))
    assert events(node).count("skerry.storage.freed") == told


async def test_the_reserve_comes_back_without_anybody_publishing(node: LimitedNode) -> None:
    reserve = node.data_dir / "records" / "reserve"
    await node.until_refused()
    assert not reserve.exists()
    node.records.acknowledge("keep", node.accepted)
    await node.watch.once()
    assert reserve.exists()


def limited(name: str, limit: int, instance: str = "i1") -> Living:
    return Living(name, instance, None, 0, limit, "")


async def test_a_workload_whose_directory_holds_too_much_is_ended_and_waits(
    node: LimitedNode,
) -> None:
    node.lay("workloads/cam/data", size=3 * MB)
    node.lay("workloads/lidar/data", size=3 * MB)
    node.workloads.there = [limited("cam", 2 * MB), limited("lidar", 4 * MB)]
    await node.watch.once()
    [excess] = node.workloads.ended
    assert (excess.workload, excess.reason, excess.at_once) == ("cam", "storage", False)
    assert excess.detail == "its directory holds 3 MB of 2 MB"
    assert events(node) == ["skerry.storage.ended"]
    spec = WorkloadSpec(
        name="cam",
        process=ProcessSpec(command=["x"]),
        resources=Resources(storage=2 * MB),
    )
    wanted = Assignment("cam", Generation(1, 1), spec)
    assert node.quotas.missing(wanted).startswith(
        "waits for room: its directory holds 3 MB of 2 MB"
    )
    rung = node.quotas.changed.count
    node.lay("workloads/cam/data", size=MB)
    await node.watch.once()
    assert node.quotas.missing(wanted) == ""
    assert node.quotas.changed.count > rung
