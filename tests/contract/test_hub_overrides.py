"""Overrides on the hub: every node is given its own plain spec, also when its labels change, also in waves."""

from __future__ import annotations

import pytest
from tests.hub_rig import HubRig, Lanes, PullingNode, node_info, spec

from skerry.kit.errors import InvalidInput, NotFound
from skerry.wire.sync import StateFrame
from skerry.wire.workload import Override, Selector, Update, WorkloadSpec

LAB = Selector(labels={"site": "lab"})


def overridden(base: str = "all", lab: str = "lab", **fields: object) -> WorkloadSpec:
    each = Override(on=LAB, fields={"env": {"X": lab}})
    return spec("a", env={"X": base}, overrides=[each], **fields)


async def value(node: PullingNode) -> str:
    await node.pull()
    assert node.assignments()["a"].spec.overrides == []
    return node.assignments()["a"].spec.env["X"]


async def test_each_node_gets_what_is_meant_for_it(hub: HubRig) -> None:
    lab = PullingNode(hub, (await hub.enrol("n1", site="lab")).node_id)
    field = PullingNode(hub, (await hub.enrol("n2")).node_id)
    await hub.apply(overridden())
    assert (await value(lab), await value(field)) == ("lab", "all")
    first, second = await hub.workloads.assignments()
    assert [(each.path, each.old, each.new) for each in first.fields] == [("env.X", "all", "lab")]
    assert (second.node, second.fields, second.spec) == ("n2", [], spec("a", env={"X": "all"}))
    assert await hub.workloads.assignments(node="n1") == [first]
    with pytest.raises(NotFound, match="cannot show workload «b»"):
        await hub.workloads.assignments("b")


async def test_new_labels_mean_new_overrides(hub: HubRig) -> None:
    node = PullingNode(hub, (await hub.enrol("n1")).node_id)
    await hub.apply(overridden(), spec("b"))
    assert await value(node) == "all"
    before = node.assignments()["b"]
    lanes = Lanes()
    info = node_info(node.node_id, site="lab")
    await hub.push(node.node_id, lanes.unit("state", [StateFrame([info])]))
    assert await value(node) == "lab"
    assert node.assignments()["b"] == before


async def test_only_nodes_whose_spec_differs_take_part_in_waves(hub: HubRig) -> None:
    waves = Update(max_unavailable=1)
    nodes = [PullingNode(hub, (await hub.enrol(f"n{n}")).node_id) for n in range(3)]
    nodes.append(PullingNode(hub, (await hub.enrol("n3", site="lab")).node_id))
    await hub.apply(overridden(update=waves))
    for node in nodes:
        hub.nodes.seen(node.node_id, hub.clock.wall_ns())
    await hub.apply(overridden(lab="new", update=waves))
    assert [await value(node) for node in nodes] == ["all", "all", "all", "lab"]
    [view] = await hub.workloads.list("a")
    assert view.update is not None
    assert (view.update.changed, view.update.total) == (3, 4)


async def test_a_wrong_override_is_refused(hub: HubRig) -> None:
    each = Override(on=LAB, fields={"resources": {"memory": 5}})
    with pytest.raises(InvalidInput, match=r"«a»: overrides\[0\]: resources.memory"):
        await hub.apply(spec("a", overrides=[each]))
