"""What a node takes the hub's word about backups for: this history of this incarnation, and only for as long as it says so."""

import asyncio
from pathlib import Path

import pytest
from tests.sync_rig import A, B, NodeRig, has

from skerry.testing.fake_hub import FakeHub
from skerry.testing.waiting import eventually
from skerry.wire.sync import Hello, HelloReply


class Hub(FakeHub):
    """The answer to a hello is on its way until what was `arriving` at the question is set."""

    def __init__(self) -> None:
        super().__init__()
        self.arriving = asyncio.Event()
        self.arriving.set()
        self.on_their_way = 0

    async def hello(self, hello: Hello) -> HelloReply:
        reply, arriving = await super().hello(hello), self.arriving
        self.on_their_way += 1
        await arriving.wait()
        self.on_their_way -= 1
        return reply


@pytest.fixture
def hub() -> Hub:
    return Hub()


async def one_more(node: NodeRig, counter: int) -> int:
    """What the hub has in a backup, when it has answered to another unit."""
    await node.publish(A, counter, 1)
    await eventually(lambda: node.settled("keep") == counter, "it is answered")
    return node.sync.backed_up("keep")


@pytest.mark.guarantee("G1")
async def test_what_the_hub_has_in_a_backup_is_learned_from_hellos_and_units(
    node: NodeRig, hub: Hub, time: None
) -> None:
    incarnation = node.store.incarnation
    hub.backed_up[incarnation, "event"] = 7
    node.sync_on()
    await node.publish(A, 1, 50)
    await eventually(lambda: node.settled("keep") == 50, "it is answered")
    assert (node.sync.backed_up("keep"), node.sync.backed_up("event")) == (0, 7)
    hub.arriving = asyncio.Event()  # no hello says it
    hub.backed_up[incarnation, "keep"] = 40
    counter = 51
    while (
        await one_more(node, counter) != 40
    ):  # an answer to a hello may still be on its way to the lane
        counter += 1
    hub.backed_up.clear()
    assert await one_more(node, counter + 1) == 0


@pytest.mark.guarantee("G1")
async def test_the_answer_to_a_hello_that_comes_late_takes_nothing_back(
    node: NodeRig, hub: Hub, time: None
) -> None:
    hub.live_refused = True  # so that there is a hello every five seconds
    hub.backed_up[node.store.incarnation, "keep"] = 40
    node.sync_on()
    await node.publish(A, 1, 50)
    await eventually(lambda: node.settled("keep") == 50, "it is answered")
    hub.arriving = asyncio.Event()
    await eventually(lambda: hub.on_their_way == 1, "it says hello")
    hub.backed_up.clear()  # which this hello's answer does not know
    assert await one_more(node, 51) == 0
    session = node.sync.connection.session  # type: ignore[union-attr]
    before = session.greetings
    this, hub.arriving = hub.arriving, asyncio.Event()  # the next one is not answered
    this.set()
    await eventually(lambda: session.greetings > before, "the answer is here")
    assert node.sync.backed_up("keep") == 0


@pytest.mark.guarantee("G1")
async def test_backups_of_another_history_say_nothing_about_this_one(
    node: NodeRig, hub: FakeHub, time: None, tmp_path: Path
) -> None:
    node.sync_on()
    await node.publish(A, 1, 50)
    await has(hub, A, 50)
    await node.stop()
    node.copy_to(tmp_path / "copy")
    await node.start()
    node.sync_on()
    await node.publish(A, 51, 50)
    await node.publish(A, 101, 5, "event")
    await has(hub, A, 105)
    await node.stop()
    node.put_back(tmp_path / "copy")
    await node.start()
    former = node.store.incarnation
    hub.backed_up[former, "keep"] = 100
    hub.backed_up[former, "event"] = 5
    await node.publish(B, 1, 50)  # under the numbers that A's had
    node.sync_on()
    await has(hub, B, 50)
    assert node.store.incarnation != former
    assert [node.sync.backed_up(lane) for lane in ("keep", "event")] == [0, 0]
