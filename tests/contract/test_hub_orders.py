"""What one node answers to its orders touches no other node's: on each database."""

import msgspec
import pytest
from sqlalchemy import Connection
from tests.hub_rig import HubRig, Lanes

from skerry.hub.store import rows
from skerry.kit.errors import InvalidInput
from skerry.wire.codec import encode
from skerry.wire.devices import Outcome
from skerry.wire.sync import StateFrame, StateRow

HOUR = 3600.0
TOO_MUCH = {
    "a time that no column holds": Outcome("x", "done", 2**63),
    "a message that no column holds": Outcome("x", "done", 1, "a\0"),
    "a long message": Outcome("x", "done", 1, "x" * 1001),
    "a step that no column holds": Outcome("x", "started", 1, step="\0"),
    "many lanes": Outcome("x", "started", 1, left={str(each): 1 for each in range(33)}),
    "a lane's count": Outcome("x", "started", 1, left={"keep": 2**64}),
}


def answer(hub: HubRig, body: Outcome) -> StateRow:
    hlc = hub.clock.wall_ns() // 1_000_000 << 16
    return StateRow("outcome", body.command, 0, hlc, "n", body=msgspec.Raw(encode(body)))


async def push(hub: HubRig, node_id: str, body: Outcome) -> None:
    await hub.push(node_id, Lanes().unit("state", [StateFrame([answer(hub, body)])]))


@pytest.mark.parametrize("wrong", TOO_MUCH.values(), ids=TOO_MUCH)
async def test_an_answer_that_no_column_holds_is_refused(hub: HubRig, wrong: Outcome) -> None:
    node = await hub.enrol("n1")
    with pytest.raises(InvalidInput, match="outcome"):
        await push(hub, node.node_id, wrong)


@pytest.mark.guarantee("G9")
async def test_one_that_an_older_hub_let_in_ends_its_own_order_only(hub: HubRig) -> None:
    bad, good = await hub.enrol("bad"), await hub.enrol("good")
    own, other = [(await hub.devices.restart(name, HOUR, "ann")).id for name in ("bad", "good")]
    let_in = rows.Scoped(bad.node_id, answer(hub, Outcome(own, "done", 2**70, "a\0")))

    def by_an_older_hub(connection: Connection) -> None:
        rows.write(connection, [let_in], hub.clock.wall_ns())

    await hub.store.write(by_an_older_hub)
    await push(hub, good.node_id, Outcome(other, "done", 1))
    await hub.retiring.settle()
    states = [(await hub.devices.get(name)).commands[0].state for name in ("bad", "good")]
    assert states == ["unknown", "done"]
    await hub.retiring.decommission("bad", "", "ann", now=True)
    assert (await hub.devices.get("bad")).state == "decommissioned"
