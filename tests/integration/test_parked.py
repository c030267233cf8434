"""What the hub refuses again and again: parked, told, kept, and tried again in time; and rounds on request."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.sync_rig import NodeRig, passing

from skerry.kit.backoff import Backoff
from skerry.kit.errors import Refused
from skerry.node.sync.on_request import log_page, sync_now
from skerry.node.sync.pace import Pace
from skerry.node.sync.reachability import Reachability
from skerry.node.sync.sync import Stores, Sync
from skerry.testing.fake_hub import FakeHub
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.records import Meta, Value
from skerry.wire.sync import RECORD_LANES, Lane

A = "a" * 32
NEVER = 1e9
"""Seconds: a schedule that no test waits for."""


class Rig:
    """A node whose hub refuses what a test says, and what the node has told about it."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        self.hub = FakeHub()
        self.told: list[tuple[str, str, Meta]] = []
        pace = Pace(NEVER, attempts=3, refused=Backoff(10.0, 40.0, 2.0))
        self.node = NodeRig(directory, self.hub, clock, pace=pace, tell=self.tell)

    async def tell(self, name: str, value: Value, meta: Meta) -> None:
        self.told.append((name, str(value), meta))

    async def fill(self, lane: Lane) -> None:
        if lane == "state":
            await self.node.report("cam", {"phase": "running"})
        else:
            await self.node.publish(A, 1, 5, lane)

    def settled(self, lane: Lane) -> int:
        """Up to where answers have been taken over whole."""
        assert self.node.sync.connection is not None
        return self.node.sync.connection.pushes[lane].settled.n

    def tries(self, lane: Lane) -> int:
        return sum(unit.lane == lane for unit in self.hub.units)

    async def hears(self, name: str) -> tuple[str, Meta]:
        await eventually(lambda: any(name == one[0] for one in self.told), name)
        return next((value, meta) for told, value, meta in self.told if told == name)


@pytest.fixture
async def rig(tmp_path: Path, manual_clock: ManualClock) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "node", manual_clock)
    await rig.node.start()
    time = asyncio.create_task(passing(manual_clock))
    yield rig
    time.cancel()
    await asyncio.wait([time])
    await rig.node.stop()


def last_retry(directory: Path) -> tuple[str, str]:
    with sqlite3.connect(directory / "node.db") as db:
        query = "SELECT entity_type, status FROM sync_log WHERE operation = 'retry' ORDER BY rowid DESC LIMIT 1"
        found = db.execute(query).fetchone()
    db.close()
    return found[0], found[1]


@pytest.mark.guarantee("G3")
@pytest.mark.parametrize("lane", ["state", *RECORD_LANES])
async def test_every_lane_is_parked_told_kept_and_tried_with_the_next_connection(
    rig: Rig, lane: Lane
) -> None:
    rig.hub.refusing.add(lane)
    await rig.fill(lane)
    rig.node.sync_on()
    words, meta = await rig.hears("skerry.sync.parked")
    assert words == f"lane «{lane}»: cannot push: lane «{lane}» is refused by the test"
    assert (meta["lane"], meta["attempts"]) == (lane, 3)
    assert last_retry(rig.node.directory) == (lane, "failed")
    status = {one.lane: one for one in (await rig.node.sync.status()).lanes}
    assert [one.lane for one in status.values() if one.parked] == [lane]
    assert status[lane].waiting > 0
    assert status[lane].counters.refusals == rig.tries(lane) == 3
    rig.hub.reachable = False
    rig.hub.cut()
    await eventually(lambda: not rig.node.reachability.connected, "the link is away")
    rig.hub.reachable = True
    await eventually(lambda: rig.tries(lane) > 3, "a new connection tries it at once")
    assert len(rig.told) == 1
    rig.hub.refusing.clear()
    rig.hub.cut()
    rig.hub.reachable = False
    await eventually(lambda: not rig.node.reachability.connected, "the link is away")
    rig.hub.reachable = True
    assert (await rig.hears("skerry.sync.resumed"))[1]["lane"] == lane
    status = {one.lane: one for one in (await rig.node.sync.status()).lanes}
    assert (status[lane].waiting, status[lane].parked) == (0, False)


async def test_a_pull_that_is_refused_is_told_and_tried_with_the_next_connection(rig: Rig) -> None:
    rig.hub.pulls_refused = True
    rig.node.sync_on()
    await rig.hears("skerry.sync.parked")
    assert last_retry(rig.node.directory) == ("pull", "failed")
    assert len(rig.hub.pulls) == 3
    rig.hub.pulls_refused = False
    rig.hub.write("assignment", "cam")  # news do not make it hurry
    rig.hub.reachable = False
    rig.hub.cut()
    await eventually(lambda: not rig.node.reachability.connected, "the link is away")
    rig.hub.reachable = True
    await rig.hears("skerry.sync.resumed")
    assert (await rig.node.sync.status()).pulls.refusals == 3


async def test_a_round_on_request_sends_what_was_parked_and_says_how_it_went(
    rig: Rig, manual_clock: ManualClock
) -> None:
    rig.hub.refusing.add("keep")
    for lane in RECORD_LANES:
        await rig.fill(lane)
    rig.node.sync_on()
    await rig.hears("skerry.sync.parked")
    failed = await sync_now(rig.node.sync, manual_clock, 600)
    assert not failed.ok
    assert failed.problems == ["cannot push: lane «keep» is refused by the test"]
    assert (failed.waiting["keep"], rig.tries("keep")) == (5, 4)
    rig.hub.refusing.clear()
    rig.hub.write("assignment", "cam")
    went = await sync_now(rig.node.sync, manual_clock, 600)
    assert (went.ok, went.problems, went.sent["keep"], went.waiting["keep"]) == (True, [], 5, 0)
    assert [row.id for row in await rig.node.store.rows("assignment")] == ["cam"]
    rig.hub.reachable = False
    rig.hub.cut()
    away = await sync_now(rig.node.sync, manual_clock, 600)
    assert (away.ok, away.problems) == (False, ["cannot reach hub: cut by the test"])


async def test_there_is_no_round_without_a_hub(rig: Rig, manual_clock: ManualClock) -> None:
    node = rig.node
    alone = Reachability(node.store, manual_clock, None)
    sync = Sync(Stores(node.store, node.records), alone, None, manual_clock, None)  # type: ignore[arg-type]  # unused
    with pytest.raises(Refused, match="this node belongs to no hub"):
        await sync_now(sync, manual_clock, 1)


async def test_the_log_and_the_counters_of_a_lane(rig: Rig) -> None:
    await rig.fill("keep")
    rig.node.sync_on()
    await eventually(lambda: rig.settled("keep") == 5, "it is at the hub, and written down")
    lanes = {one.lane: one.counters for one in (await rig.node.sync.status()).lanes}
    assert (lanes["keep"].units, lanes["keep"].records, lanes["keep"].cuts) == (1, 5, 0)
    await rig.node.sync_off()
    newest = log_page(rig.node.store.log, 10).entries
    pushed = next(one for one in newest if one.kind == "keep")
    assert (pushed.operation, pushed.name, pushed.status) == ("push", "1..5", "success")
    assert json.loads(bytes(pushed.details))["units"] == 1
    assert [one.at for one in newest] == sorted(one.at for one in newest)
