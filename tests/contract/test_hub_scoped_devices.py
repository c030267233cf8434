"""Devices for a role of one site, on each database: those of others are as if they were not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import update
from tests.hub_rig import HubRig, Lanes, node_info

from skerry.core.roles import PERMISSIONS, Role
from skerry.hub.fleet.devices import Address, Wanted
from skerry.hub.store.tables import node as node_table
from skerry.kit.errors import NotFound, Refused
from skerry.testing.running_hub import EnrolledNode
from skerry.wire.sync import StateFrame

pytestmark = pytest.mark.guarantee("G9")

HOUR = 3600.0
LAB = Role("lab", PERMISSIONS, (("site", "lab"),))
Deed = Callable[[HubRig, str], Awaitable[object]]
DEEDS: dict[str, Deed] = {
    "show": lambda hub, name: hub.devices.get(name, LAB),
    "restart": lambda hub, name: hub.devices.restart(name, HOUR, "ann", LAB),
    "update": lambda hub, name: hub.devices.update(name, LAB),
    "provision": lambda hub, name: hub.devices.provision(name, Address("::1"), HOUR, "ann", LAB),
    "decommission": lambda hub, name: hub.retiring.decommission(
        name, "", "ann", now=True, role=LAB
    ),
}


async def labelled(hub: HubRig, name: str, site: str) -> EnrolledNode:
    node = await hub.enrol(name)
    await relabel(hub, node, Lanes(), site)
    return node


async def relabel(hub: HubRig, node: EnrolledNode, lanes: Lanes, site: str, hlc: int = 1) -> None:
    row = node_info(node.node_id, hlc=hlc, rev=hlc - 1, site=site)
    await hub.push(node.node_id, lanes.unit("state", [StateFrame([row])]))


async def test_a_page_has_those_of_the_role_and_counts_them_alone(hub: HubRig) -> None:
    for number in range(7):
        await labelled(hub, f"n{number}", "roof" if number % 2 else "lab")
    await hub.devices.provision("later", Address(), HOUR, "bob")
    for sort in ("name", "state", "last_seen"):
        page = await hub.devices.list(Wanted(sort=sort, limit=3, role=LAB))
        rest = await hub.devices.list(Wanted(sort=sort, limit=3, offset=3, role=LAB))
        assert (page.total, rest.total) == (4, 4)
        names = [each.name for each in [*page.devices, *rest.devices]]
        assert sorted(names) == ["n0", "n2", "n4", "n6"]
    assert (await hub.devices.list(Wanted(labels={"site": "roof"}, role=LAB))).total == 0
    assert (await hub.devices.list(Wanted(state="registered", role=LAB))).total == 0
    assert (await hub.devices.list(Wanted())).total == 8


async def test_one_node_is_judged_by_its_own_labels_alone(hub: HubRig) -> None:
    """So its answer takes no longer, in a large fleet, than that for a name which nobody has."""
    found = {site: await labelled(hub, f"{site}-1", site) for site in ("lab", "roof")}
    other = await labelled(hub, "other", "roof")
    damaged = update(node_table).where(node_table.c.id == other.node_id).values(labels="not read")
    await hub.store.write(lambda connection: connection.execute(damaged))
    assert await hub.nodes.find("lab-1", LAB) == found["lab"].node_id
    assert await hub.nodes.find("roof-1", LAB) is None
    assert await hub.nodes.covered(LAB, [found["lab"].node_id])
    assert not await hub.nodes.covered(LAB, [found["roof"].node_id])


@pytest.mark.parametrize("verb", DEEDS)
async def test_a_hidden_device_and_one_that_there_is_not_are_told_in_the_same_words(
    hub: HubRig, verb: str
) -> None:
    await labelled(hub, "lab-1", "lab")
    roof = await labelled(hub, "roof-1", "roof")
    await hub.devices.provision("later", Address(), HOUR, "bob")
    gone = await labelled(hub, "lab-gone", "lab")
    await hub.retiring.decommission("lab-gone", "", "bob", now=True)
    said = set()
    nobody = "01890000-0000-7000-8000-000000000000"
    for name in ("roof-1", roof.node_id, "later", "lab-gone", gone.node_id, "nowhere", nobody):
        with pytest.raises(NotFound) as error:
            await DEEDS[verb](hub, name)
        said.add(str(error.value).replace(name, "…").replace("did you mean «lab-1»?", "").strip())
    assert len({each.split(";")[0] for each in said}) == 1
    assert not any("roof" in each or "later" in each for each in said)
    before = await hub.devices.get("roof-1")
    assert (before.state, before.commands, before.ip_address) == ("active", [], "")
    assert (await hub.devices.list(Wanted())).total == 4


async def test_they_act_on_their_own(hub: HubRig) -> None:
    await labelled(hub, "lab-1", "lab")
    assert (await hub.devices.get("lab-1", LAB)).name == "lab-1"
    assert (await hub.devices.restart("lab-1", HOUR, "ann", LAB)).state == "queued"
    with pytest.raises(Refused, match="no releases"):
        await hub.devices.update("lab-1", LAB)
    assert (await hub.devices.provision("lab-1", Address("::1"), HOUR, "ann", LAB)).token == ""
    assert (await hub.devices.get("lab-1", LAB)).ip_address == "::1"
    await hub.retiring.decommission("lab-1", "", "ann", now=True, role=LAB)
    assert (await hub.devices.get("lab-1")).state == "decommissioned"


async def test_a_device_that_is_labelled_otherwise_is_gone_for_them(hub: HubRig) -> None:
    node, lanes = await hub.enrol("lab-1"), Lanes()
    await relabel(hub, node, lanes, "lab")
    assert await hub.nodes.find("lab-1", LAB) == node.node_id
    assert await hub.nodes.covered(LAB, [node.node_id])
    other = await labelled(hub, "roof-1", "roof")
    assert not await hub.nodes.covered(LAB, [node.node_id, other.node_id])
    await relabel(hub, node, lanes, "roof", hlc=2)
    for verb, deed in DEEDS.items():
        with pytest.raises(NotFound, match=verb):
            await deed(hub, "lab-1")
    assert await hub.nodes.find("lab-1", LAB) is None
    assert not await hub.nodes.covered(LAB, [node.node_id])
    assert await hub.nodes.covered(None, [node.node_id])


async def test_a_device_on_its_way_out_is_still_theirs(hub: HubRig) -> None:
    node = await labelled(hub, "lab-1", "lab")
    hub.nodes.seen(node.node_id, hub.clock.wall_ns())
    await hub.retiring.decommission("lab-1", "", "ann", now=False, role=LAB)
    assert (await hub.devices.get("lab-1", LAB)).state == "draining"
    assert (await hub.nodes.sight(LAB)).ids == {node.node_id}
