"""A node says with its hello as which device twins know it: so its first rows are not refused, whichever lane is faster."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import structs
from tests.hub_rig import HubRig, Lanes, node_info
from tests.shared_rows import RowNode, outcomes, put
from tests.twin_bodies import ARM, DEVICE, ENTITY, Json, arm

from skerry.wire.codec import encode
from skerry.wire.rows import RowPut
from skerry.wire.sync import StateFrame
from skerry.wire.workload import NodeInfo

ALERTS = f"alerts_{ENTITY.partition('_')[2]}"
ALERT: Json = {"name": "Hot", "twin_uuid": ARM}

pytestmark = pytest.mark.guarantee("G9")


async def node(hub: HubRig, name: str = "boat") -> RowNode:
    """One that nobody knows as a device yet; the twin is that device's."""
    enrolled = await hub.enrol(name)
    await hub.shared_rows.put(ENTITY, ARM, RowPut(msgspec.Raw(encode(arm()))))
    return RowNode(hub, enrolled.node_id)


async def raises(boat: RowNode, alert: str) -> bool:
    """Whether the hub takes an alert of it."""
    return outcomes(await boat.push(ALERTS, put(alert, ALERT, hlc=10))) == []


async def known_as(hub: HubRig, name: str) -> str:
    return (await hub.devices.get(name)).fingerprint


async def test_rows_are_taken_right_after_the_first_hello(hub: HubRig) -> None:
    boat = await node(hub)
    assert not await raises(boat, "1")
    await hub.nodes.introduced(boat.node_id, "")
    assert not await raises(boat, "2")
    await hub.nodes.introduced(boat.node_id, DEVICE)
    assert await raises(boat, "3")
    await hub.nodes.introduced(boat.node_id, "another-000000000000")
    assert await known_as(hub, "boat") == DEVICE


async def test_no_node_is_a_device_that_another_one_is(hub: HubRig) -> None:
    boat, crane = await node(hub), await node(hub, "crane")
    await hub.nodes.introduced(boat.node_id, DEVICE)
    await hub.nodes.introduced(crane.node_id, DEVICE)
    assert [await known_as(hub, name) for name in ("boat", "crane")] == [DEVICE, ""]
    assert not await raises(crane, "1")


async def test_a_hello_does_not_undo_what_a_person_has_said(hub: HubRig) -> None:
    boat = await node(hub)
    row = node_info(boat.node_id, hlc=1)
    told = structs.replace(msgspec.json.decode(row.body, type=NodeInfo), fingerprint=DEVICE)
    frame = StateFrame([structs.replace(row, body=msgspec.Raw(encode(told)))])
    await hub.push(boat.node_id, Lanes().unit("state", [frame]))
    assert await known_as(hub, "boat") == DEVICE
    await hub.devices.know_as("boat", "")
    await hub.nodes.introduced(boat.node_id, DEVICE)
    assert await known_as(hub, "boat") == ""


async def test_a_node_that_was_revoked_is_no_device(hub: HubRig) -> None:
    boat = await node(hub)
    await hub.nodes.revoke("boat")
    await hub.nodes.introduced(boat.node_id, DEVICE)
    assert await known_as(hub, "boat") == ""
