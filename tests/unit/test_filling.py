"""A publisher's share of a store that only the hub empties."""

from skerry.core.cyberwave.filling import Filling
from skerry.wire.sync import Lane

MB = 1 << 20


class Hub:
    """How far it has each lane."""

    def __init__(self) -> None:
        self.has: dict[Lane, int] = {"event": 0, "keep": 0}

    def of(self, lane: Lane) -> int:
        return self.has[lane]


def test_who_floods_has_two_thirds_and_who_comes_next_two_thirds_of_what_is_left() -> None:
    filling, hub, room = Filling(2), Hub(), 900 * MB
    taken = {"a": 0, "b": 0}
    for source in taken:
        n = 0
        while source not in filling.full:
            n += 1
            filling.add(source, "event", n, MB)
            taken[source] += 1
            newly = filling.judge(room - sum(taken.values()) * MB, hub.of)
            assert newly == ({source} & filling.full)
    assert taken == {"a": 601, "b": 200}
    filling.add("c", "keep", 1, MB)
    assert filling.judge(room - 802 * MB, hub.of) == frozenset()
    assert filling.full == {"a", "b"}


def test_a_share_is_free_again_when_the_hub_has_taken_half_of_it() -> None:
    filling, hub = Filling(2), Hub()
    for n in range(1, 10):
        filling.add("a", "event", n, MB)
    assert filling.judge(4 * MB, hub.of) == {"a"}
    hub.has["event"] = 4
    assert filling.judge(4 * MB, hub.of) == frozenset()
    assert filling.full == {"a"}
    hub.has["event"] = 5
    filling.judge(4 * MB, hub.of)
    assert filling.full == frozenset()
    hub.has["event"] = 9
    assert filling.judge(0, hub.of) == frozenset()
    assert filling.full == frozenset()


def test_lanes_are_acknowledged_each_by_itself() -> None:
    filling, hub = Filling(2), Hub()
    filling.add("a", "event", 1, 2 * MB)
    filling.add("a", "keep", 1, 2 * MB)
    hub.has["keep"] = 1
    assert filling.judge(MB, hub.of) == {"a"}
    hub.has["event"] = 1
    filling.judge(MB, hub.of)
    assert filling.full == frozenset()
