"""Where a lane goes on: every way in which the two stores' histories can relate."""

import pytest

from skerry.node.sync.decide import (
    Continue,
    Decision,
    Held,
    HubWentBack,
    OtherHistory,
    anchor,
    decide,
    other_history,
)
from skerry.wire.sync import LanePoint

START = LanePoint()


def ours(n: int) -> LanePoint:
    """A point of this store's history."""
    return LanePoint(n, f"{n:016x}") if n else START


def theirs(n: int) -> LanePoint:
    """A point of a history that left ours somewhere before `n`."""
    return LanePoint(n, f"{n + 0xF000:016x}")


def store(head: int, acknowledged: int = 0, *, base: int = 0) -> Held:
    """A store whose every record is a frame; `at` fills in what it knows of the hub's number."""
    return Held(ours(base), ours(head), ours(acknowledged), None)


def at(held: Held, hub: LanePoint, *, inside_frame: bool = False) -> Held:
    known = held.base.n <= hub.n <= held.head.n and not inside_frame
    return Held(held.base, held.head, held.acknowledged, ours(hub.n) if known else None)


@pytest.mark.parametrize(
    ("hub", "held", "expected"),
    [
        pytest.param(START, store(0), Continue(START), id="first contact, nothing accepted"),
        pytest.param(START, store(50), Continue(START), id="first contact, accepted before"),
        pytest.param(ours(50), store(50, 50), Continue(ours(50)), id="in step"),
        pytest.param(ours(50), store(80, 50), Continue(ours(50)), id="accepted while offline"),
        pytest.param(ours(70), store(80, 50), Continue(ours(70)), id="acknowledgement lags"),
        pytest.param(ours(80), store(80, 0), Continue(ours(80)), id="acknowledgement never saved"),
        pytest.param(ours(50), store(80, 50, base=50), Continue(ours(50)), id="freed up to it"),
        pytest.param(START, store(90, base=60), Continue(START), id="thinned before first contact"),
        pytest.param(ours(50), store(90, 50, base=60), Continue(ours(50)), id="thinned unsent"),
        pytest.param(ours(30), store(80, 50), HubWentBack(ours(30)), id="hub put back"),
        pytest.param(START, store(80, 50), HubWentBack(START), id="hub put back before this node"),
        pytest.param(
            ours(30), store(80, 50, base=40), HubWentBack(ours(30)), id="hub put back beyond freed"
        ),
        pytest.param(
            ours(30), store(40, 35), HubWentBack(ours(30)), id="both put back, node less far"
        ),
        pytest.param(ours(30), store(60, 20), Continue(ours(30)), id="both put back, in agreement"),
    ],
)
def test_one_history(hub: LanePoint, held: Held, expected: Decision) -> None:
    assert decide(hub, at(held, hub)) == expected


@pytest.mark.parametrize(
    ("hub", "held", "after"),
    [
        pytest.param(ours(80), store(50, 40), 40, id="node put back"),
        pytest.param(ours(80), store(0), 0, id="node's records gone, identity kept"),
        pytest.param(ours(80), store(50, 40, base=45), 45, id="node put back, thinned unsent"),
        pytest.param(theirs(80), store(80, 40), 40, id="node put back, as many accepted since"),
        pytest.param(theirs(80), store(120, 40), 40, id="node put back, more accepted since"),
        pytest.param(theirs(80), store(120, 80), 80, id="clone: the other half came first"),
        pytest.param(
            theirs(30), store(120, 80), 0, id="hub and node put back: nothing is sure, send all"
        ),
        pytest.param(
            theirs(30), store(120, 80, base=20), 20, id="nothing is sure, send all that is here"
        ),
        pytest.param(theirs(50), store(90, 40, base=50), 50, id="differ at the oldest record"),
    ],
)
def test_another_history(hub: LanePoint, held: Held, after: int) -> None:
    decision = decide(hub, at(held, hub))
    assert isinstance(decision, OtherHistory)
    assert decision.after == ours(after)


def test_a_number_inside_a_frame_is_another_history() -> None:
    hub = theirs(60)
    decision = decide(hub, at(store(80, 40), hub, inside_frame=True))
    assert isinstance(decision, OtherHistory)
    assert decision.after == ours(40)


def test_one_lane_is_enough_for_a_new_incarnation() -> None:
    fine, bad = Continue(ours(5)), OtherHistory(ours(3), "why not")
    assert other_history({"keep": fine, "event": HubWentBack(START)}) is None
    assert other_history({"keep": fine, "event": bad}) == "lane «event»: why not"


@pytest.mark.parametrize(
    ("decision", "base", "expected"),
    [
        (Continue(ours(50)), 10, 50),
        (HubWentBack(ours(5)), 10, 10),
        (Continue(START), 0, 0),
        (OtherHistory(ours(40), ""), 10, 40),
    ],
)
def test_a_new_incarnation_begins_where_something_is_left(
    decision: Decision, base: int, expected: int
) -> None:
    held = Held(ours(base), ours(90), ours(60), None)
    assert anchor(decision, held) == ours(expected)
