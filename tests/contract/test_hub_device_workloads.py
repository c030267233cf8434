"""Workloads that devices want by themselves are shown, and their names are nobody else's."""

from __future__ import annotations

import msgspec
import pytest
from tests.hub_rig import HubRig, spec
from tests.speaking_node import Speaking

from skerry.hub.fleet.sight import EVERYTHING, Sight
from skerry.kit.errors import InvalidInput
from skerry.wire.codec import encode
from skerry.wire.people import Apply, Rollback
from skerry.wire.sync import StateRow
from skerry.wire.workload import Generation, WorkloadStatus

DRIVER = "cyberwave-driver-6f1f0c1e"


def told(name: str, epoch: int, *, hlc: int = 1) -> StateRow:
    body = WorkloadStatus(workload=name, generation=Generation(epoch, 7), phase="running", since=1)
    return StateRow("status", name, 0, hlc, "node", body=msgspec.Raw(encode(body)))


async def test_they_are_shown_with_their_nodes(hub: HubRig) -> None:
    a, b = [Speaking(hub, (await hub.enrol(name)).node_id) for name in ("a", "b")]
    await hub.apply(spec("cam"))
    for node in (a, b):
        await node.tell(told(DRIVER, 0), told("cam", 1), told("gone", 1), told("own", 0))
    await hub.apply(spec("own"))
    [found] = await hub.workloads.of_devices(EVERYTHING)
    assert (found.name, found.device, list(found.nodes)) == (DRIVER, True, ["a", "b"])
    status = found.nodes["a"].status
    assert status is not None
    assert (status.phase, found.nodes["a"].node_online) == ("running", True)
    assert await hub.workloads.of_devices(EVERYTHING, "cam") == []
    device = await hub.devices.get("a")
    assert [each.workload for each in device.own] == [DRIVER]
    assert (device.running, device.workloads) == (2, 2)
    assert len(await hub.workloads.of_devices(EVERYTHING, DRIVER)) == 1
    [seen] = await hub.workloads.of_devices(Sight(frozenset({b.node_id}), frozenset({"b"})))
    assert list(seen.nodes) == ["b"]
    assert {view.name for view in await hub.workloads.list()} == {"cam", "own"}
    await b.tell(StateRow("status", DRIVER, 0, 9, "node", deleted=True))
    [found] = await hub.workloads.of_devices(EVERYTHING)
    assert list(found.nodes) == ["a"]


async def test_nobody_else_makes_one_of_such_a_name(hub: HubRig) -> None:
    for dry_run in (True, False):
        with pytest.raises(InvalidInput, match="devices with twins start by themselves"):
            await hub.apply(spec(DRIVER), dry_run=dry_run)


async def test_one_from_before_goes_on(hub: HubRig, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr("skerry.hub.fleet.controller.DEVICES_OWN", "\0")
        await hub.apply(spec("cyberwave-old"))
    await hub.enrol("a")
    await hub.apply(spec("cyberwave-old"))
    changed = spec("cyberwave-old", env={"A": "1"})
    reply = await hub.apply(changed)
    assert [each.change for each in reply.workloads] == ["change"]
    await hub.workloads.rollback("cyberwave-old", Rollback(), "ann")
    await hub.workloads.restart("cyberwave-old")
    await hub.workloads.delete("cyberwave-old", "ann")
    with pytest.raises(InvalidInput):
        await hub.workloads.apply(Apply([changed]), "ann")
