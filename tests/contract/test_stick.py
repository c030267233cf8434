"""What is carried by hand means what it means on a live link: order, repeats, overlaps, histories that differ."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from tests.carry_rig import CarryRig
from tests.hub_rig import HubRig
from tests.model_cases import sha256

from skerry.cli.stick_files import data_files
from skerry.hub.store.tables import file, file_content, lane, record
from skerry.kit.errors import InvalidInput, Refused
from skerry.testing.manual_clock import ManualClock
from skerry.wire.workload import Generation, WorkloadStatus


@pytest.fixture
async def rig(tmp_path: Path, hub: HubRig, manual_clock: ManualClock) -> AsyncIterator[CarryRig]:
    rig = CarryRig(tmp_path, hub, manual_clock)
    await rig.start()
    yield rig
    await rig.stop()


@pytest.mark.guarantee("G1")
async def test_each_record_once_whatever_comes_when(rig: CarryRig) -> None:
    first, second = rig.stick("a"), rig.stick("b")
    await rig.publish(300)
    await rig.node.report("cam", WorkloadStatus("cam", Generation(1, 1), "running", 1))
    await rig.export(first)
    await rig.publish(200)
    assert (await rig.export(second)).complete
    assert await rig.bring(second) == (500, [])
    assert await rig.bring(first) == (0, [])
    assert await rig.bring(second) == (0, [])
    assert await rig.has_all_once()
    assert await rig.waiting() == 500
    assert [taken.records for taken in await rig.take_receipts(first)] == [500]
    assert [taken.records for taken in await rig.take_receipts(second)] == [0]
    assert await rig.waiting() == 0
    await rig.publish(5)
    assert [taken.records for taken in await rig.take_receipts(second)] == [0]
    assert await rig.waiting() == 5
    assert [taken.records for taken in await rig.round_trip(rig.stick("c"))] == [5]
    assert await rig.has_all_once()


@pytest.mark.guarantee("G1")
async def test_a_small_stick_takes_the_front_and_parts_follow_each_other(rig: CarryRig) -> None:
    small, parts = rig.stick("small"), rig.stick("parts")
    await rig.publish(400, noise=1000)
    for _ in range(4):
        await rig.publish(400, noise=1000)
    end = await rig.export(small, room=600_000)
    assert not end.complete
    assert 0 < end.records < 2000
    assert sum(path.stat().st_size for path in small.iterdir()) <= 600_000
    assert (await rig.bring(small))[1] == []
    [taken] = await rig.take_receipts(small)
    assert taken.done
    assert taken.records == end.records

    assert (await rig.export(parts, part=300_000)).complete
    found = data_files(parts)
    assert len(found) > 2
    kept = found[0].rename(parts / "kept")
    new, problems = await rig.bring(parts)
    assert (new, len(problems) > 0) == (0, True)
    assert "First import the file that was exported before" in problems[0]
    lacking = await rig.take_receipts(parts)
    assert {(each.records, each.done) for each in lacking} == {(0, False)}
    kept.rename(found[0])
    assert (await rig.bring(parts))[1] == []
    assert await rig.has_all_once()
    with pytest.raises(Refused, match="Remove something from the stick"):
        rig.carrying.export(1000, 10**9)


@pytest.mark.guarantee("G1")
async def test_a_node_that_was_put_back_goes_on_as_another_history(
    rig: CarryRig, tmp_path: Path
) -> None:
    await rig.publish(100)
    await rig.round_trip(rig.stick("a"))
    await rig.node.stop()
    rig.node.copy_to(tmp_path / "backup")
    await rig.open()
    await rig.publish(50)
    await rig.round_trip(rig.stick("b"))
    await rig.node.stop()
    rig.node.put_back(tmp_path / "backup")
    await rig.open()
    before = rig.node.store.incarnation
    await rig.publish(50)  # 151 to 200; the store does not remember 101 to 150
    [told] = await rig.round_trip(rig.stick("c"))
    assert "another history" in told.note
    assert not told.done
    assert rig.node.store.incarnation != before
    [learned] = await rig.round_trip(rig.stick("d"))
    assert learned.done
    assert await rig.has_all_once()
    assert await rig.waiting() == 0


@pytest.mark.guarantee("G1")
async def test_a_hub_that_was_put_back_gets_again_what_it_lost(rig: CarryRig) -> None:
    first, second = rig.stick("a"), rig.stick("b")
    await rig.publish(100)
    await rig.round_trip(first)
    point = (await rig.node.sync.acknowledged())["keep"]
    await rig.publish(60)
    await rig.round_trip(second)
    await rig.hub.store.write(
        lambda connection: (
            connection.execute(
                update(lane).where(lane.c.lane == "keep").values(n=point.n, chain=point.chain)
            ),
            connection.execute(delete(record).where(record.c.counter > 100)),
        )
    )
    await rig.publish(40)
    third = rig.stick("c")
    [told] = await rig.round_trip(third)
    assert "the hub lost some of what it had" in told.note
    assert await rig.waiting() == 100
    [learned] = await rig.round_trip(rig.stick("d"))
    assert learned.records == 100
    assert await rig.has_all_once()
    [stale] = await rig.take_receipts(
        third
    )  # tells of a loss that is made good: harmless, sends again
    assert not stale.done
    assert (await rig.bring(rig.stick("d"))) == (0, [])
    await rig.round_trip(rig.stick("e"))
    assert await rig.has_all_once()


@pytest.mark.guarantee("G1")
async def test_a_hub_that_was_put_back_gets_its_files_again(rig: CarryRig) -> None:
    store = rig.keep_files()
    first, second = rig.stick("a"), rig.stick("b")
    await rig.give(store, b"kept", 1)
    await rig.round_trip(first)
    point = (await rig.node.sync.acknowledged())["event"]
    await rig.give(store, b"lost", 2)
    assert [told.files for told in await rig.round_trip(second)] == [1]
    await rig.hub.store.write(
        lambda connection: (
            connection.execute(
                update(lane).where(lane.c.lane == "event").values(n=point.n, chain=point.chain)
            ),
            connection.execute(delete(record).where(record.c.counter == 2)),
            connection.execute(delete(file).where(file.c.sha256 == sha256(b"lost"))),
            connection.execute(
                delete(file_content).where(file_content.c.sha256 == sha256(b"lost"))
            ),
        )
    )
    await rig.hub.file_blobs.remove(sha256(b"lost"))
    await rig.publish(1)
    [told] = await rig.round_trip(rig.stick("c"))
    assert "the next export has it again" in told.note
    [stale] = await rig.take_receipts(first)
    assert stale.files == 0
    await rig.round_trip(rig.stick("d"))
    assert await rig.hub.arrivals.held(rig.enrolled.node_id, [sha256(b"lost")])
    assert store.rows.totals().waiting == 0


async def test_a_file_is_new_at_the_hub_once(rig: CarryRig) -> None:
    """An import of a damaged stick goes on for as long as something is new."""
    store, stick = rig.keep_files(), rig.stick("a")
    await rig.give(store, b"picture", 1)
    await rig.give(store, b"", 2)
    await rig.export(stick)
    await rig.bring(stick)
    assert rig.files_brought == 2
    await rig.bring(stick)
    assert rig.files_brought == 2


@pytest.mark.guarantee("G1")
async def test_an_old_receipt_says_nothing_about_files(rig: CarryRig) -> None:
    store = rig.keep_files()
    old = rig.stick("old")
    await rig.give(store, b"one", 1)
    await rig.export(old)
    await rig.bring(old)
    await rig.publish(10)
    await rig.round_trip(rig.stick("new"))
    await store.lost()
    assert [told.files for told in await rig.take_receipts(old)] == [0]
    assert store.rows.totals().waiting == 1


@pytest.mark.guarantee("G9")
async def test_nobody_else_can_write_a_file_or_a_receipt(rig: CarryRig) -> None:
    stick = rig.stick("a")
    await rig.publish(10)
    other = await rig.hub.enrol("n2")
    own = rig.enrolled
    # The other node's secret under this node's name.
    forger = type(own)(own.node_id, own.name, own.hub_id, secret=other.secret)
    rig.carrying = rig.carrying_as(forger)
    await rig.export(stick)
    new, problems = await rig.bring(stick)
    assert new == 0
    assert all("was sealed with another secret" in problem for problem in problems)
    assert await rig.values() == []

    rig.carrying = rig.carrying_as(own)
    good = rig.stick("b")
    await rig.export(good)
    [path] = data_files(good)
    swapped = path.read_bytes().replace(own.node_id.encode(), other.node_id.encode())
    (rig.stick("swapped") / path.name).write_bytes(swapped)
    assert (await rig.bring(rig.stick("swapped")))[0] == 0
    assert await rig.bring(good) == (10, [])
    [receipt] = good.glob("*.receipt")
    with pytest.raises(Refused, match="another node"):
        await rig.carrying_as(other).take_receipt(receipt.read_bytes())
    with pytest.raises(InvalidInput, match="another secret"):
        await rig.carrying_as(forger).take_receipt(receipt.read_bytes())
    with pytest.raises(InvalidInput):
        await rig.carrying.take_receipt(path.read_bytes())
    assert await rig.waiting() == 10
    shutil.copy(receipt, good / "again.receipt")
    assert sum(taken.records for taken in await rig.take_receipts(good)) == 10


@pytest.mark.guarantee("G10")
async def test_a_node_without_its_secret_seals_nothing(rig: CarryRig) -> None:
    """It was restored from a backup that was not sealed."""
    await rig.publish(10)
    own = rig.enrolled
    rig.carrying = rig.carrying_as(type(own)(own.node_id, own.name, own.hub_id, secret=""))
    with pytest.raises(Refused, match="the node's secret is not there"):
        await rig.export(rig.stick("a"))
    with pytest.raises(Refused, match="the node's secret is not there"):
        await rig.carrying.take_receipt(b"")
