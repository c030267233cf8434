"""What the sync writes into the documented table `sync_log`."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.sync_rig import NodeRig, passing

from skerry.kit.errors import Transient
from skerry.kit.sqlite_connections import connect
from skerry.node.store.sync_log import KEPT
from skerry.testing.fake_hub import FakeHub
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.sync import Pull, PullReply, PushReply, PushUnit

A = "a" * 32


@dataclass(frozen=True)
class Line:
    """One row, without id."""

    operation: str
    entity_type: str
    entity_id: str
    status: str
    timestamp: str
    details: dict[str, object]


def lines(node: NodeRig, operation: str = "%", kind: str = "%") -> list[Line]:
    database = connect(node.directory / "node.db", read_only=True)
    try:
        found = database.execute(
            "SELECT operation, entity_type, entity_id, status, timestamp, details FROM sync_log "
            "WHERE operation LIKE ? AND entity_type LIKE ? ORDER BY rowid",
            (operation, kind),
        )
        return [Line(*tuple(row)[:5], json.loads(row["details"])) for row in found]
    finally:
        database.close()


def statuses(node: NodeRig, operation: str, kind: str) -> list[str]:
    return [line.status for line in lines(node, operation, kind)]


def settled(node: NodeRig) -> int:
    """Up to where the answers to lane keep have been taken over whole."""
    assert node.sync.connection is not None
    return node.sync.connection.pushes["keep"].settled.n


async def acknowledged(node: NodeRig) -> bool:
    return await node.store.unsent() == 0


class Hub(FakeHub):
    """Lets go of the link in mid-push, so many times; may let a state lane wait until something was pulled."""

    cuts = 0
    pulled: asyncio.Event | None = None

    async def pull(self, request: Pull) -> PullReply:
        reply = await super().pull(request)
        if self.pulled is not None:
            self.pulled.set()
        return reply

    async def push(self, unit: PushUnit) -> PushReply:
        if unit.lane == "state" and self.pulled is not None:
            await self.pulled.wait()
        if unit.lane == "keep" and self.cuts:
            self.cuts -= 1
            raise Transient("cannot reach hub: cut in mid-push")
        return await super().push(unit)


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
async def node(tmp_path: Path, hub: Hub, manual_clock: ManualClock) -> AsyncIterator[NodeRig]:
    node = NodeRig(tmp_path / "node", hub, manual_clock)
    await node.start()
    task = asyncio.create_task(passing(manual_clock))
    yield node
    task.cancel()
    await asyncio.wait([task])
    await node.stop()


async def test_a_push_is_told_with_its_numbers_and_bytes(node: NodeRig) -> None:
    await node.publish(A, 1, 500)
    node.sync_on()
    await eventually(lambda: statuses(node, "push", "keep") == ["success"], "told")
    [line] = lines(node, "push", "keep")
    assert line.entity_id == "1..500"
    assert line.details["attempts"] == line.details["units"] == 1
    assert int(str(line.details["bytes"])) > 500
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.timestamp)


async def test_pushes_that_go_well_are_put_together(
    tmp_path: Path, hub: Hub, manual_clock: ManualClock
) -> None:
    """Those of half a minute: a second passes between two, however slow the machine is."""
    node = NodeRig(tmp_path / "node", hub, manual_clock)
    await node.start()
    node.sync_on()
    for first in range(1, 60):
        await node.publish(A, first, 1)
        manual_clock.advance(1.0)
        await eventually(lambda: settled(node) == first, "at the hub, and taken over")  # noqa: B023 - waited for here
    await node.stop()
    told = lines(node, "push", "keep")
    assert 2 <= len(told) < 5
    assert sum(int(str(line.details["units"])) for line in told) == len([u for u in hub.units if u.lane == "keep"])  # fmt: skip
    assert (told[0].entity_id.split("..")[0], told[-1].entity_id.split("..")[1]) == ("1", "59")


async def test_a_cut_is_told_and_then_the_success(node: NodeRig, hub: Hub) -> None:
    node.sync_on()
    await node.publish(A, 1, 10)
    await eventually(lambda: len(hub.records) == 10, "the first are there")
    hub.cuts = 3
    await node.publish(A, 11, 10)
    await eventually(lambda: len(hub.records) == 20, "the rest is there, too")
    await eventually(lambda: len(lines(node, "push", "keep")) == 4, "told")
    _, cut, again, success = lines(node, "push", "keep")
    assert (cut.status, again.status, success.status) == ("interrupted", "interrupted", "success")
    assert cut.entity_id == success.entity_id == "11..20"
    assert cut.details["resumes_after"] == 10
    assert cut.details["cause"] == "cannot reach hub: cut in mid-push"
    assert success.details["attempts"] == 4


async def test_a_refusal_waits_and_then_counts_as_failed(node: NodeRig, hub: Hub) -> None:
    hub.refusing.add("keep")
    node.sync_on()
    await node.publish(A, 1, 1)
    await eventually(lambda: len(lines(node, "retry", "keep")) >= 5, "five refusals")
    told = lines(node, "retry", "keep")[:5]
    assert [line.status for line in told] == ["waiting"] * 4 + ["failed"]
    assert [line.details["attempts"] for line in told] == [1, 2, 3, 4, 5]
    waits = [float(str(line.details["next_in"])) for line in told]
    assert all(27 * 2**n <= wait <= 30 * 2**n for n, wait in enumerate(waits[:4]))
    assert 540 <= waits[4] <= 660  # parked: until the schedule
    hub.refusing.clear()
    await eventually(lambda: statuses(node, "push", "keep") == ["success"], "kept and sent")


async def test_what_is_pulled_is_told_row_by_row(node: NodeRig, hub: Hub) -> None:
    hub.write("assignment", "cam", b'{"a": 1}')
    node.sync_on()
    await eventually(lambda: len(lines(node, "pull")) == 1, "pulled")
    hub.write("assignment", "cam", deleted=True)
    await eventually(lambda: len(lines(node, "pull")) == 2, "deleted")
    first, second = lines(node, "pull", "assignment")
    assert (first.entity_id, first.status, first.details["bytes"]) == ("cam", "success", 8)
    assert (first.details["deleted"], second.details["deleted"]) == (False, True)


async def test_a_conflict_names_both_versions(node: NodeRig, hub: Hub) -> None:
    node.sync_on()
    await node.report("cam", {"phase": "running"})
    await eventually(lambda: ("status", "cam") in hub.state, "the hub has the status")
    await eventually(lambda: acknowledged(node), "and the node knows it")
    await node.sync_off()
    assert lines(node, "conflict") == []
    hub.write("status", "cam", b'{"phase": "other"}')
    hub.state["status", "cam"] = replace(hub.state["status", "cam"], hlc=2**60)
    await node.report("cam", {"phase": "stopped"})
    hub.pulled = asyncio.Event()
    node.sync_on()
    await eventually(lambda: len(lines(node, "conflict")) == 1, "told")
    [line] = lines(node, "conflict")
    assert (line.entity_type, line.entity_id, line.status) == ("status", "cam", "resolved")
    assert line.details["hub"]["origin"] == "hub"  # type: ignore[index]
    assert line.details["node"]["origin"] == "node-1"  # type: ignore[index]
    assert "other" not in json.dumps(line.details)


async def test_it_is_bounded(node: NodeRig) -> None:
    told = (node.store.log.refused_pull(n, 1.0, "no", failed=False) for n in range(KEPT + 50))
    await asyncio.gather(*told)
    held = lines(node)
    assert len(held) == KEPT
    assert held[-1].details["attempts"] == KEPT + 49
