"""The hub's database is replaced by an older copy: what was acknowledged since comes back, once."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import msgspec
import pytest
from tests.hub_backups import hub_settings_at
from tests.hub_rig import INCARNATION, HubRig, Lanes, PullingNode, batch, spec, status
from tests.restorable_hub import RestorableHub

from skerry.hub import maintenance
from skerry.hub.backups import ledger
from skerry.hub.store import changes
from skerry.hub.store.sole import only_user
from skerry.kit.errors import Corrupt, Refused
from skerry.testing.manual_clock import ManualClock
from skerry.wire.records import Batch
from skerry.wire.sync import Enrol, Hello, Lane, PushUnit, StateFrame
from skerry.wire.workload import WorkloadStatus


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


def measured(first: int, count: int) -> Batch:
    return batch(*range(first, first + count), counter=first, at=first * 10)


async def half_set_aside(restorable: RestorableHub) -> tuple[HubRig, Disk]:
    """A hub with twenty records of node «n», of which the copy has ten."""
    disk = Disk()
    await restorable.rig.push("n", disk.make("keep", measured(1, 10)))
    hub = await restorable.set_aside()
    await hub.push("n", disk.make("keep", measured(11, 10)))
    return hub, disk


async def half_put_back(restorable: RestorableHub) -> tuple[HubRig, Disk]:
    """It has ten of them, then."""
    _, disk = await half_set_aside(restorable)
    return await restorable.put_back(), disk


async def backed_up(hub: HubRig) -> dict[Lane, int]:
    """What node «n» is told."""
    hello = await hub.greeter.hello("n", Hello((1, 1), INCARNATION, "0.1", "boot-1"))
    return hello.backed_up_through


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
    hub, disk = await half_put_back(restorable)
    for unit in disk.after("keep", 0):
        assert (await hub.push("n", unit)).outcome == "ok"
    rows = (await hub.query.records()).rows
    assert [row.value for row in rows] == list(range(1, 21))


async def test_records_that_the_node_no_longer_has_become_a_gap_that_people_see(
    restorable: RestorableHub,
) -> None:
    hub, disk = await half_put_back(restorable)
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
    assert (await hub.store.read(changes.read_log)).epoch == 2  # before any node has said a word
    [kept] = await hub.workloads.list("a")
    assert kept.generation > max(lost)
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


@pytest.mark.guarantee("G6")
async def test_a_restore_wants_the_hub_stopped_a_whole_backup_and_leave_to_replace(
    restorable: RestorableHub,
) -> None:
    hub = restorable.rig
    await hub.enrol("kept")
    await restorable.set_aside()
    await hub.enrol("lost")
    assert stat.S_IMODE(restorable.backup.stat().st_mode) == 0o600
    # The lock is as `server.serve` has it.
    with only_user(hub.store.url), pytest.raises(Refused, match="Stop (that hub|all hubs)"):
        await restorable.put_back(stopped=False)
    hub.stop()
    with pytest.raises(Refused, match="is not empty.*--replace"):
        await restorable.put_back(replace=False)
    whole = restorable.backup.read_bytes()
    for torn in (whole[:-1], whole[:2000], whole[:3000] + b"x" + whole[3001:]):
        restorable.backup.write_bytes(torn)
        with pytest.raises(Corrupt, match="cannot use backup"):
            await restorable.put_back()
    hub = await restorable.start()  # nothing of it has changed anything
    assert sorted(view.name for view in await hub.nodes.list()) == ["kept", "lost"]
    restorable.backup.write_bytes(whole)
    hub = await restorable.put_back()
    assert [view.name for view in await hub.nodes.list()] == ["kept"]


async def test_tokens_that_were_not_used_in_the_backup_are_good_for_nobody(
    restorable: RestorableHub,
) -> None:
    token = (await restorable.rig.tokens.create(600.0)).token
    await restorable.set_aside()
    hub = await restorable.put_back()
    with pytest.raises(Refused):
        await hub.nodes.enrol(Enrol(token, "late", {}, "0.1", "1" * 64))


@pytest.mark.guarantee("G1")
async def test_of_all_backups_nodes_rely_on_the_one_that_was_put_back(
    restorable: RestorableHub, memory_dir: Path
) -> None:
    restorable.backup = memory_dir / "one.skb"  # on another disk than the database
    hub, _ = await half_set_aside(restorable)
    points = await hub.store.read(ledger.read_points)
    newer = ledger.Entry("newer", "/gone", 1, 5, 2**62)
    await hub.store.write(lambda c: ledger.remember(c, newer, points))
    assert (await backed_up(await restorable.put_back()))["keep"] == 10


@pytest.mark.guarantee("G1")
async def test_ones_own_tool_counts_for_what_was_there_before_it_began_and_only_if_it_succeeds(
    restorable: RestorableHub, tmp_path: Path
) -> None:
    hub, disk = restorable.rig, Disk()
    await hub.push("n", disk.make("keep", measured(1, 10)))

    async def count(*words: str) -> None:
        await asyncio.to_thread(
            maintenance.count_other, restorable.settings, words, 60.0, hub.clock, files=False
        )

    for words in (["false"], ["/nowhere/tool"]):
        with pytest.raises(Refused):
            await count(*words)
    assert (await backed_up(hub))["keep"] == 0
    fifo = tmp_path / "go on"
    os.mkfifo(fifo)
    counting = asyncio.create_task(count("sh", "-c", 'echo began >"$0"; read x <"$0"', str(fifo)))
    assert await asyncio.to_thread(fifo.read_text) == "began\n"
    await hub.push("n", disk.make("keep", measured(11, 10)))  # while it works
    await asyncio.to_thread(fifo.write_text, "go on\n")
    await counting
    assert (await backed_up(hub))["keep"] == 10
    hub.clock.advance(61)
    assert await hub.store.write(lambda c: ledger.forget_overdue(c, hub.clock.wall_ns()))
    assert (await backed_up(hub))["keep"] == 0


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("files", [False, True])
async def test_ones_own_tool_counts_for_files_only_when_it_copies_them(
    restorable: RestorableHub, *, files: bool
) -> None:
    hub, lanes = restorable.rig, Lanes()
    for lane in ("keep", "event"):
        await hub.push("n", lanes.unit(lane, [batch(lane, name=lane)]))
    counting = maintenance.count_other
    await asyncio.to_thread(counting, restorable.settings, ["true"], 60.0, hub.clock, files=files)
    told = await backed_up(hub)
    assert (told["keep"], told["event"]) == (1, int(files))


async def test_where_no_hub_ever_was_there_is_nothing_to_back_up(
    empty_database_url: str, tmp_path: Path, manual_clock: ManualClock
) -> None:
    settings = hub_settings_at(tmp_path / "hub", empty_database_url)
    words = "there is no hub's database there. Name its directory"
    with pytest.raises(Refused, match=words):
        maintenance.back_up(settings, tmp_path / "one.skb", manual_clock)
    if empty_database_url.startswith("sqlite"):
        path = Path(empty_database_url.removeprefix("sqlite:///"))
        assert not path.exists()
        path.touch()
        with pytest.raises(Refused, match=words):
            maintenance.back_up(settings, tmp_path / "one.skb", manual_clock)
