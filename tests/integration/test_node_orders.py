"""Orders about twins, in a real store: each has an end that the hub is told, whatever happens on the way."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from tests.audit_rig import AuditRig

from skerry.kit.clock import NS
from skerry.kit.errors import Refused
from skerry.kit.tasks import supervised
from skerry.node.host import Host
from skerry.node.orders import COMMAND, OUTCOME, Orders
from skerry.node.twin_ports import Told
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode, encode
from skerry.wire.devices import Command, Outcome

TWIN = "6f1f0c1e-0000-4000-8000-000000000001"


class Idle:
    """A device that is never asked to end."""

    async def end_workloads(self) -> None:
        raise AssertionError

    async def unsent(self) -> Mapping[str, int]:
        raise AssertionError

    def restart(self) -> None:
        raise AssertionError

    def ahead(self) -> float:
        return 0.0


class Edge:
    """Does what the test says."""

    def __init__(self, fate: Callable[[], Told]) -> None:
        self.fate = fate

    async def do(self, order: Command) -> Told:  # noqa: ARG002 - every one
        return self.fate()


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
async def rig(short_dir: Path, disk: FaultyDisk) -> AsyncIterator[AuditRig]:
    rig = AuditRig(short_dir, disk=disk)
    rig.writer.start()
    await rig.store.open()
    yield rig
    rig.store.close()
    rig.writer.stop()


async def ended(rig: AuditRig, fate: Callable[[], Told]) -> Outcome:
    """What the store says in the end of an order with that fate."""
    now = rig.clock.wall_ns()
    order = Command("o", "twin_command", now, now + 600 * NS, "ann", "r", TWIN)
    await rig.store.put(COMMAND, order.id, encode(order))
    host = Host(rig.clock, rig.disk, random.Random(1))
    orders = Orders(rig.store, Idle(), rig.desk, host, Edge(fate))
    found: list[Outcome] = []

    async def is_over() -> bool:
        rows = await rig.store.rows(OUTCOME)
        found[:] = [decode(row.body, Outcome, "an outcome") for row in rows]
        return len(found) == len(await rig.store.rows(COMMAND)) and all(
            one.state != "started" for one in found
        )

    async with supervised() as tasks:
        tasks.forever(orders.run(tasks), name="orders")
        await eventually(is_over, "the order has an end")
    return found[0]


async def test_what_goes_wrong_unexpectedly_is_a_failed_order(rig: AuditRig) -> None:
    def breaks() -> Told:
        raise KeyError("secret")

    told = await ended(rig, breaks)
    assert told.state == "failed"
    assert "log" in told.message
    assert "secret" not in told.message


async def test_an_order_of_a_newer_hub_is_refused_and_keeps_no_other_one_from_its_end(
    rig: AuditRig,
) -> None:
    now = rig.clock.wall_ns()
    newer = {"id": "a", "action": "fly", "issued_at": now, "expires_at": now, "issuer": "ann"}
    await rig.store.put(COMMAND, "a", encode(newer))
    first, second = await ended(rig, lambda: Told("moved")), await rig.store.rows(OUTCOME)
    assert (first.command, first.state) == ("a", "failed")
    assert "Invalid enum value 'fly'" in first.message
    assert "Install the release of Skerry that its hub has" in first.message
    assert [decode(row.body, Outcome, "an outcome").state for row in second] == ["failed", "done"]


async def test_what_is_refused_says_why(rig: AuditRig) -> None:
    def refuses() -> Told:
        raise Refused("its driver is down")

    told = await ended(rig, refuses)
    assert (told.state, told.message) == ("failed", "its driver is down")


async def test_an_end_that_the_disk_does_not_take_at_once_is_told_later(
    rig: AuditRig, disk: FaultyDisk
) -> None:
    def done() -> Told:
        disk.fail_after(1)
        return Told("moved", '{"status":"ok"}')

    told = await ended(rig, done)
    assert (told.state, told.message, told.reply) == ("done", "moved", '{"status":"ok"}')
