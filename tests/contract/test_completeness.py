"""The completeness report on a real hub: page borders, restarts, late records, holes in the numbers, dropped samples."""

from __future__ import annotations

import pytest
from tests.hub_rig import HubRig, Lanes

from skerry.hub.data import completeness
from skerry.hub.data.completeness import Asked, Completeness
from skerry.testing.manual_clock import ManualClock
from skerry.wire.completeness import CompletenessReport
from skerry.wire.records import SPARSE_SESSION, Batch, Record

S = 10**9
FIRST, SECOND = "aa" * 16, "bb" * 16


def ticks(session: str, start: int, numbers: range, name: str = "s", at: int = 0) -> Batch:
    """A record a second, whose value and counter are its number."""
    records = [Record(n - numbers[0], name, start + (at + n) * S, n) for n in numbers]
    return Batch("measurement", "cam", session, numbers[0], start, 0, "synced", records)


async def report(hub: HubRig, clock: ManualClock, **asked: object) -> CompletenessReport:
    given = {"name": "*", "node": None, "source": None, "kind": "measurement"}
    given |= {"since": None, "until": None} | asked
    wanted = Asked(**given, factor=3.0)  # type: ignore[arg-type]
    return await Completeness(hub.store, hub.query, clock).report(wanted)


async def test_a_restarted_publisher_late_records_and_dropped_samples(
    hub: HubRig, manual_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completeness, "PAGE", 7)
    start = manual_clock.wall_ns()
    node = await hub.enrol("n1")
    lanes = Lanes()
    await hub.push(node.node_id, lanes.unit("keep", [ticks(FIRST, start, range(1, 31))]))
    await hub.push(node.node_id, lanes.unit("keep", [ticks(SECOND, start, range(1, 41), at=50)]))
    gap = Batch(
        "gap", "skerry", "cc" * 16, 1, start, 0, "unsynced",
        [Record(0, "sample", start, 12, {"from": start + 35 * S, "to": start + 38 * S, "cause": "thinned"})],
    )  # fmt: skip
    await hub.push(node.node_id, lanes.unit("event", [gap]))
    manual_clock.advance(91)

    [one] = (await report(hub, manual_clock)).series
    assert (one.node, one.source, one.name, one.count, one.sessions) == ("n1", "cam", "s", 70, 2)
    assert (one.first, one.last, one.last_value) == (start + S, start + 90 * S, 40)
    [silence] = one.silences
    assert (silence.since, silence.until, silence.cause) == (
        start + 30 * S,
        start + 51 * S,
        "thinned",
    )
    assert silence.missing == 20
    assert one.share == pytest.approx(70 / 90, rel=0.01)
    assert (one.publisher.missing, one.publisher.on_the_way, one.quiet_for) == (0, 0, None)

    late = ticks(FIRST, start, range(31, 51))
    await hub.push(node.node_id, lanes.unit("keep", [late]))
    [healed] = (await report(hub, manual_clock)).series
    assert (healed.silences, healed.share, healed.count) == ([], 1.0, 90)
    manual_clock.advance(60)
    [quiet] = (await report(hub, manual_clock, name="s*", node="n1")).series
    assert quiet.quiet_for == 61 * S
    assert (await report(hub, manual_clock, node="n2")).series == []


async def test_holes_in_a_publishers_numbers(hub: HubRig, manual_clock: ManualClock) -> None:
    start = manual_clock.wall_ns()
    node = await hub.enrol("n1")
    lanes = Lanes()
    front = ticks(FIRST, start, range(1, 21))
    await hub.push(
        node.node_id, lanes.unit("keep", [front, ticks(FIRST, start, range(26, 41), "t")])
    )
    hub.nodes.seen(node.node_id, manual_clock.wall_ns())
    await hub.nodes.flush()
    series = (await report(hub, manual_clock)).series
    assert [one.name for one in series] == ["s", "t"]
    assert {(one.publisher.missing, one.publisher.on_the_way) for one in series} == {(0, 5)}

    manual_clock.advance(3600)  # the node is away: they may be there
    [one, _] = (await report(hub, manual_clock)).series
    assert (one.publisher.missing, one.publisher.on_the_way) == (0, 5)
    hub.nodes.seen(node.node_id, manual_clock.wall_ns())
    await hub.nodes.flush()
    [one, _] = (await report(hub, manual_clock)).series
    assert (one.publisher.missing, one.publisher.on_the_way) == (5, 0)
    await hub.push(node.node_id, lanes.unit("sample", [ticks(FIRST, start, range(21, 26))]))
    [one, _] = (await report(hub, manual_clock)).series
    assert (one.publisher.missing, one.publisher.on_the_way) == (0, 0)


async def test_a_sparse_session_has_no_holes(hub: HubRig, manual_clock: ManualClock) -> None:
    start = manual_clock.wall_ns()
    node = await hub.enrol("n1")
    lanes = Lanes()
    sparse = "cc" * (SPARSE_SESSION // 2)
    for numbers in (range(1, 11), range(13, 31)):
        await hub.push(node.node_id, lanes.unit("keep", [ticks(sparse, start, numbers)]))
    [one] = (await report(hub, manual_clock)).series
    assert (one.count, one.publisher.missing, one.publisher.on_the_way) == (28, 0, 0)
    for numbers in (range(31, 41), range(43, 51)):
        await hub.push(node.node_id, lanes.unit("keep", [ticks(FIRST, start, numbers)]))
    [one] = (await report(hub, manual_clock)).series
    assert one.publisher.missing + one.publisher.on_the_way == 2


async def test_holes_are_looked_for_in_the_asked_time(
    hub: HubRig, manual_clock: ManualClock
) -> None:
    start = manual_clock.wall_ns()
    node = await hub.enrol("n1")
    lanes = Lanes()
    for numbers in (range(1, 11), range(13, 31), range(41, 51)):  # 2 and 5 are missing
        await hub.push(node.node_id, lanes.unit("keep", [ticks(FIRST, start, numbers)]))
    old = ticks(FIRST, start, range(31, 36), at=-86_400)  # by a clock that was set back for a while
    await hub.push(node.node_id, lanes.unit("keep", [old]))

    async def holes(since: int | None, until: int | None) -> int:
        asked = {
            "since": None if since is None else start + since * S,
            "until": None if until is None else start + until * S,
        }
        [one] = (await report(hub, manual_clock, **asked)).series
        return one.publisher.missing + one.publisher.on_the_way

    assert await holes(None, None) == 7
    assert await holes(1, None) == 7
    assert await holes(1, 10) == 0
    assert await holes(1, 20) == 2
    assert await holes(13, 31) == 0
    assert await holes(20, None) == 5
