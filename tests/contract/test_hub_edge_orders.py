"""Orders about twins at the hub: given once by request, to whom can do them, and told with what drivers have answered."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import structs
from tests.hub_rig import HubRig, Lanes
from tests.speaking_node import Speaking, info
from tests.twin_bodies import ARM

from skerry.hub.fleet import commands
from skerry.hub.fleet.edge_orders import told_of
from skerry.kit.errors import InvalidInput, NotFound, Refused, TooLarge
from skerry.wire.codec import decode, encode
from skerry.wire.devices import Command, EdgeAction, EdgeOrder, Outcome
from skerry.wire.inventory import Inventory
from skerry.wire.sync import StateFrame, StateRow

TAKES = Inventory(capabilities=["orders", "edge-orders", "topic-orders"])
WORKFLOW = "6f1f0c1e-0000-4000-8000-000000000002"


def arm(request: str = "", **message: object) -> EdgeOrder:
    payload = msgspec.Raw(encode({"command": "arm"} | message))
    return EdgeOrder("twin_command", request, ARM, payload)


def workflow(action: EdgeAction, **message: object) -> EdgeOrder:
    payload = msgspec.Raw(encode({"workflow_uuid": WORKFLOW} | message))
    return EdgeOrder(action, payload=payload)


class Ordered(Speaking):
    """A node that answers orders."""

    async def told(self) -> list[Command]:
        await self.pulling.pull()
        return [
            decode(bytes(row.body), Command, "an order")
            for (entity, _), row in self.pulling.rows.items()
            if entity == "command"
        ]

    async def end(self, order: str, outcome: Outcome) -> None:
        now = self.hub.clock.wall_ns() // 1_000_000 << 16
        body = msgspec.Raw(encode(structs.replace(outcome, command=order)))
        await self.tell(StateRow("outcome", order, 0, now, "n", body=body))


@pytest.fixture
async def node(hub: HubRig) -> Ordered:
    node = Ordered(hub, (await hub.enrol("n1")).node_id)
    await node.tell(info(node.node_id, 1, TAKES))
    return node


async def test_a_command_reaches_its_node_and_its_answer_stays(hub: HubRig, node: Ordered) -> None:
    given = await hub.devices.order("n1", arm("r1", data={"height": 2}), 60, "ann")
    assert (given.state, given.issuer) == ("queued", "ann")
    [order] = await node.told()
    assert (order.id, order.action, order.request, order.twin) == (
        given.id, "twin_command", "r1", ARM,
    )  # fmt: skip
    assert msgspec.json.decode(order.payload) == {"command": "arm", "data": {"height": 2}}
    reply = '{"status":"denied"}'
    await node.end(given.id, Outcome("", "failed", 5, "denied", reply=reply))
    for _ in range(2):
        found = await hub.devices.order_given("n1", given.id)
        assert (found.state, found.message, found.reply) == ("failed", "denied", reply)
        await hub.retiring.settle()
    assert await node.told() == []
    assert (await hub.devices.get("n1")).commands[0].reply == reply


async def test_the_same_request_is_the_same_order(hub: HubRig, node: Ordered) -> None:
    first = await hub.devices.order("n1", arm("r1"), 60, "ann")
    assert await hub.devices.order("n1", arm("r1"), 60, "bob") == first
    await node.end(first.id, Outcome("", "done", 5))
    again = await hub.devices.order("n1", arm("r1"), 60, "ann")
    assert (again.id, again.state) == (first.id, "done")
    await hub.retiring.settle()
    assert (await hub.devices.order("n1", arm("r1"), 60, "ann")).id == first.id
    assert await node.told() == []
    other = Ordered(hub, (await hub.enrol("n2")).node_id)
    await other.tell(info(other.node_id, 1, TAKES))
    assert (await hub.devices.order("n2", arm("r1"), 60, "ann")).id != first.id


async def test_without_one_each_is_its_own(hub: HubRig, node: Ordered) -> None:
    ids = {(await hub.devices.order("n1", arm(), 60, "ann")).id for _ in range(3)}
    assert {order.id for order in await node.told()} == ids
    assert len(ids) == 3


async def test_so_many_stand_and_no_more(
    hub: HubRig, node: Ordered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "MOST_OPEN", 2)
    monkeypatch.setattr(commands, "KEPT", 3)
    first = await hub.devices.order("n1", arm(), 60, "ann")
    await hub.devices.order("n1", arm(), 60, "ann")
    with pytest.raises(Refused, match="have not ended"):
        await hub.devices.order("n1", arm(), 60, "ann")
    await node.end(first.id, Outcome("", "done", 5))
    for _ in range(4):
        hub.clock.advance(1.0)
        one = await hub.devices.order("n1", arm(), 60, "ann")
        await node.end(one.id, Outcome("", "done", 5))
    with pytest.raises(NotFound):
        await hub.devices.order_given("n1", first.id)
    assert len((await hub.devices.get("n1")).commands) == 5  # one of them has not ended


async def test_who_does_not_know_them_gets_none(hub: HubRig) -> None:
    node = Ordered(hub, (await hub.enrol("n1")).node_id)
    with pytest.raises(Refused, match="takes no orders about twins"):
        await hub.devices.order("n1", arm(), 60, "ann")
    await node.tell(info(node.node_id, 1, Inventory(capabilities=["orders"])))
    with pytest.raises(Refused, match="takes no orders about twins"):
        await hub.devices.order("n1", arm(), 60, "ann")
    with pytest.raises(NotFound):
        await hub.devices.order("n9", arm(), 60, "ann")


async def test_an_older_agent_gets_no_order_that_it_cannot_read(hub: HubRig) -> None:
    node = Ordered(hub, (await hub.enrol("n1")).node_id)
    await node.tell(info(node.node_id, 1, Inventory(capabilities=["orders", "edge-orders"])))
    start = EdgeOrder("start_driver", "r", ARM)
    with pytest.raises(Refused, match="takes no orders to «start_driver»"):
        await hub.devices.order("n1", start, 60, "ann")
    await hub.devices.order("n1", arm(), 60, "ann")
    newer = Inventory(capabilities=["orders", "edge-orders", "driver-starts"])
    await node.tell(info(node.node_id, 2, newer))
    await hub.devices.order("n1", start, 60, "ann")


@pytest.mark.parametrize("action", ["twin_navigate", "twin_motion", "twin_mission"])
async def test_other_topics_are_for_agents_that_know_them(hub: HubRig, action: EdgeAction) -> None:
    node = Ordered(hub, (await hub.enrol("n1")).node_id)
    await node.tell(info(node.node_id, 1, Inventory(capabilities=["orders", "edge-orders"])))
    asked = structs.replace(arm(), action=action)
    for one in (asked, workflow("run_workflow")):
        with pytest.raises(Refused, match=f"takes no orders to «{one.action}»"):
            await hub.devices.order("n1", one, 60, "ann")
    await node.tell(info(node.node_id, 2, TAKES))
    await hub.devices.order("n1", asked, 60, "ann")
    assert [(each.action, each.twin) for each in await node.told()] == [(action, ARM)]


async def test_a_workflow_is_ordered_by_its_uuid(hub: HubRig, node: Ordered) -> None:
    for asked in (
        workflow("run_workflow", inputs={"secret": 1}),
        workflow("cancel_workflow", execution_uuid="e"),
    ):
        await hub.devices.order("n1", asked, 60, "ann")
        assert told_of(asked) == f"{asked.action}, workflow {WORKFLOW}"
    assert [each.action for each in await node.told()] == ["run_workflow", "cancel_workflow"]


@pytest.mark.parametrize(
    "wrong",
    [
        structs.replace(arm(), twin="../x"),
        structs.replace(arm(), twin=ARM.upper()),
        structs.replace(arm(), payload=msgspec.Raw(b"[]")),
        structs.replace(arm(), payload=msgspec.Raw(b'{"command":""}')),
        arm(status="ok"),
        structs.replace(arm(), action="sync_workflows"),
        structs.replace(arm(), action="start_driver", twin=""),
        structs.replace(arm(), action="twin_motion", twin=""),
        structs.replace(arm(), action="run_workflow", twin=""),
        workflow("run_workflow", workflow_uuid="../x"),
        workflow("run_workflow", execution_uuid=5),
        workflow("cancel_workflow"),
        structs.replace(workflow("run_workflow"), twin=ARM),
    ],
)
async def test_what_is_no_order_is_refused(hub: HubRig, node: Ordered, wrong: EdgeOrder) -> None:
    with pytest.raises(InvalidInput):
        await hub.devices.order("n1", wrong, 60, "ann")
    assert await node.told() == []


async def test_bounds(hub: HubRig, node: Ordered) -> None:
    with pytest.raises(TooLarge):
        await hub.devices.order("n1", arm(data="x" * 65_536), 60, "ann")
    for ttl in (0.0, float("nan"), 90_000.0):
        with pytest.raises(InvalidInput):
            await hub.devices.order("n1", arm(), ttl, "ann")
    too_long = Outcome("x", "done", 1, reply="x" * 16_385)
    row = StateRow("outcome", "x", 0, 1, "n", body=msgspec.Raw(encode(too_long)))
    with pytest.raises(InvalidInput, match="outcome"):
        await hub.push(node.node_id, Lanes().unit("state", [StateFrame([row])]))
