"""A node's whole sync with a hub in memory: real stores, a clock in the test's hand."""

import asyncio

import pytest
from tests.sync_rig import A, B, NodeRig, counters, has, status_of

from skerry.kit.clock import NS
from skerry.testing.fake_hub import FakeHub
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.link import WINDOW, Close, Credit, Data, Open, Opened
from skerry.wire.logs import LogQuery


async def test_everything_reaches_the_hub_and_status_says_so(
    node: NodeRig, hub: FakeHub, time: None
) -> None:
    await node.publish(A, 1, 500)
    await node.publish(A, 501, 3, "event")
    await node.publish(A, 504, 10, "sample")
    await node.report("cam", {"phase": "running"})
    assert (await node.sync.status()).result == "never"
    node.sync_on()
    await has(hub, A, 513)
    await eventually(lambda: ("status", "cam") in hub.state, "the status is at the hub")
    await status_of(node, "online")

    async def done() -> bool:
        status = await node.sync.status()
        return status.result == "success" and all(lane.waiting == 0 for lane in status.lanes)

    await eventually(done, "the status says success")
    lanes = {lane.lane: lane for lane in (await node.sync.status()).lanes}
    assert (lanes["keep"].head, lanes["keep"].acknowledged) == (500, 500)
    assert lanes["keep"].bytes_on_disk > 0


async def test_it_takes_over_what_the_hub_wants_when_there_is_news(
    node: NodeRig, hub: FakeHub, time: None
) -> None:
    hub.write("assignment", "cam", b'{"v":1}')
    node.sync_on()
    await status_of(node, "online")

    async def held() -> list[str]:
        return [row.id for row in await node.store.rows("assignment")]

    async def holds(*ids: str) -> None:
        async def same() -> bool:
            return await held() == list(ids)

        await eventually(same, f"the node holds {ids}")

    await holds("cam")
    hub.write("assignment", "fan")
    await holds("cam", "fan")
    hub.write("assignment", "cam", deleted=True)
    await holds("fan")


async def test_a_first_value_after_idle_goes_at_once_and_following_ones_together(
    node: NodeRig, hub: FakeHub, manual_clock: ManualClock
) -> None:
    node.sync_on()
    await status_of(node, "online")
    await node.publish(A, 1, 1)
    await has(hub, A, 1)  # no time has passed
    for n in range(2, 12):
        await node.publish(A, n, 1)
    await asyncio.sleep(0.05)
    assert counters(hub, A) == [1]
    manual_clock.advance(1.0)
    await has(hub, A, 11)
    assert len([unit for unit in hub.units if unit.lane == "keep"]) == 2


async def test_a_hub_that_is_busy_is_asked_again_in_a_second_and_what_stands_goes_on(
    node: NodeRig, hub: FakeHub, manual_clock: ManualClock
) -> None:
    async def passed_until_hello(number: int) -> float:
        began = manual_clock.monotonic_ns()
        while len(hub.hellos) < number:
            manual_clock.advance(0.125)
            await asyncio.sleep(0.005)
        return (manual_clock.monotonic_ns() - began) / 1e9

    hub.live_refused = True  # so that there is a hello every five seconds
    hub.busy = 1
    node.sync_on()
    await eventually(lambda: "kept busy" in node.reachability.status.cause, "it is told")
    assert await passed_until_hello(2) > 0.7
    await status_of(node, "polling")
    hub.busy = 3
    await passed_until_hello(3)
    for turned_away in range(1, 4):
        await node.publish(A, turned_away, 1, "event")
        await has(hub, A, turned_away)
        assert node.reachability.status.state == "polling"
        assert await passed_until_hello(3 + turned_away) > 0.7
    assert hub.busy == 0


@pytest.mark.guarantee("G4")
async def test_a_lane_that_gets_no_answer_does_not_hold_up_the_others(
    node: NodeRig, hub: FakeHub, time: None
) -> None:
    hub.live_refused = True  # so that there is a hello every five seconds
    hub.stuck.add("sample")
    await node.publish(A, 1, 5, "sample")
    await node.publish(B, 1, 5, "keep")
    node.sync_on()
    await has(hub, B, 5)
    await node.publish(B, 6, 5, "event")
    await has(hub, B, 10)
    calls = hub.calls
    await eventually(lambda: hub.calls > calls + 10, "many hellos and pulls")
    assert counters(hub, A) == []
    assert len([unit for unit in hub.units if unit.lane == "sample"]) == 1  # left to itself


async def test_a_refused_unit_is_kept_tried_ever_more_rarely_and_shown(
    node: NodeRig, hub: FakeHub, manual_clock: ManualClock
) -> None:
    hub.refusing.add("keep")
    await node.publish(A, 1, 5, "keep")
    await node.publish(B, 1, 5, "event")
    node.sync_on()
    await has(hub, B, 5)
    await eventually(lambda: node.settled("event") == 5, "and the node knows")
    await eventually(lambda: node.refusals("keep") == 1, "the unit was refused")
    status = await node.sync.status()
    assert status.result == "failing"
    assert status.failures == 1
    assert [lane.problem for lane in status.lanes if lane.lane == "keep"] == [
        "cannot push: lane «keep» is refused by the test"
    ]
    # After five it is parked: tried with the schedule, a tenth more or less.
    earliest = manual_clock.monotonic_ns()
    for tries, full in enumerate((30, 60, 120, 240, 600, 600, 600, 600), start=1):
        await eventually(lambda: node.refusals("keep") == tries, "the node knows")  # noqa: B023 - waited for here
        latest = manual_clock.monotonic_ns()
        await passes_until(manual_clock, earliest + int((0.9 * full - 4) * NS))
        assert len(refused(hub)) == tries
        earliest = manual_clock.monotonic_ns()
        await passes_until(manual_clock, latest + int(((1.1 if full == 600 else 1) * full + 2) * NS))  # fmt: skip
        await eventually(lambda: len(refused(hub)) > tries, "it is tried again")  # noqa: B023 - waited for here
        assert len(refused(hub)) == tries + 1
    assert all(lane.parked == (lane.lane == "keep") for lane in (await node.sync.status()).lanes)
    hub.refusing.clear()
    while counters(hub, A) != [1, 2, 3, 4, 5]:
        manual_clock.advance(10.0)
        await asyncio.sleep(0.001)
    await eventually(lambda: node.reachability.connected, "connected")

    async def well() -> bool:
        return not any(lane.problem for lane in (await node.sync.status()).lanes)

    await eventually(well, "the node knows")


async def passes_until(clock: ManualClock, end: int) -> None:
    """In steps of two seconds, and no further however slow the others are."""
    while clock.monotonic_ns() < end:
        clock.advance(2.0)
        await asyncio.sleep(0.0005)


def refused(hub: FakeHub) -> list[int]:
    return [unit.first for unit in hub.units if unit.lane in hub.refusing]


async def test_an_outage_is_known_with_its_beginning_even_after_a_restart(
    node: NodeRig, hub: FakeHub, time: None, manual_clock: ManualClock
) -> None:
    node.sync_on()
    await status_of(node, "online")
    hub.reachable = False
    hub.cut()
    await status_of(node, "offline")
    status = node.reachability.status
    assert status.cause == "cannot reach hub: cut by the test"
    await node.publish(A, 1, 5)
    await node.stop()
    manual_clock.advance(600)
    await node.start()
    node.sync_on()
    await eventually(lambda: "cut by the test" in node.reachability.status.cause, "tried again")
    assert node.reachability.status.since == status.since
    assert await node.store.fact("offline_since") == str(status.since)
    hub.reachable = True
    await has(hub, A, 5)
    await status_of(node, "online")

    async def forgotten() -> bool:
        return await node.store.fact("offline_since") == ""

    # The status says it before it is committed.
    await eventually(forgotten, "the end of the outage is kept")


async def test_without_a_live_link_it_asks_every_few_seconds(
    node: NodeRig, hub: FakeHub, time: None
) -> None:
    hub.live_refused = True
    node.sync_on()
    await status_of(node, "polling")
    hub.write("assignment", "cam")

    async def held() -> bool:
        return [row.id for row in await node.store.rows("assignment")] == ["cam"]

    await eventually(held, "the assignment is here")
    hub.live_refused = False
    await status_of(node, "online")


async def test_the_hub_reads_logs_through_the_live_link(
    node: NodeRig, hub: FakeHub, time: None
) -> None:
    node.logs.lines = {"cam": [f"line {n} {'é' * 2000}" for n in range(200)]}
    node.sync_on()
    await status_of(node, "online")
    (link,) = hub.links
    link.tell(Open(1, "logs", {"workload": "cam", "since": "5", "follow": "true"}))
    link.tell(Open(2, "logs", {"workload": "none"}))
    link.tell(Open(3, "shell", {}))
    texts: dict[int, str] = {1: "", 2: "", 3: ""}
    served = []
    ends: dict[int, str] = {}

    async def read_until(done: int) -> None:
        while len(ends) < done:
            message = await link.heard.get()
            if isinstance(message, Data):
                texts[message.channel] += message.text
            elif isinstance(message, Close):
                ends[message.channel] = message.error
            elif isinstance(message, Opened):
                served.append(message.channel)

    await read_until(2)
    assert ends[2] == "cannot read logs: there is no workload «none»"
    assert ends[3] == "cannot open channel: this node knows no kind «shell»"
    while not link.heard.empty() or len(texts[1].encode()) < WINDOW - 32 * 1024:
        message = await link.heard.get()
        assert isinstance(message, Data)
        texts[1] += message.text
    assert len(texts[1].encode()) <= WINDOW  # and now it waits for credit
    link.tell(Credit(1, 10 * WINDOW))
    await read_until(3)
    assert texts[1].splitlines() == node.logs.lines["cam"]
    assert ends[1] == ""
    assert served == [1]
    assert node.logs.asked[0] == ("cam", LogQuery(since=5, follow=True))


async def test_acknowledgements_are_kept_over_a_shutdown(
    node: NodeRig, hub: FakeHub, time: None
) -> None:
    node.sync_on()
    await node.publish(A, 1, 10)
    await has(hub, A, 10)

    async def acknowledged() -> bool:
        lanes = (await node.sync.status()).lanes
        return [lane.acknowledged for lane in lanes if lane.lane == "keep"] == [10]

    await eventually(acknowledged, "the node knows of it")
    await node.stop()
    await node.start()
    assert (await node.store.lane("keep")).n == 10
    assert node.records.acknowledged("keep") == 0
    status = await node.sync.status()
    assert status.result == "failing"  # it was well once, but now nobody is connected
    assert status.last_synced
