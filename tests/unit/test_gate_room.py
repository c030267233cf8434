"""Memory for large packets: in turn, never more than there is, and not for ever."""

from hypothesis import given
from hypothesis import strategies as st

from skerry.gate.room import SLOWEST, Place, Room
from skerry.keeper.loop import Loop


class Site:
    def __init__(self, size: int) -> None:
        self.now = 0.0
        self.loop = Loop(lambda: self.now)
        self.room = Room(size, self.loop)
        self.told: list[str] = []

    def place(self, name: str) -> Place:
        return Place(
            self.room, lambda: self.told.append(name), lambda: self.told.append(f"{name} over")
        )

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.loop.later(0, lambda: None)
        self.loop.turn()


def test_room_is_given_in_turn() -> None:
    site = Site(100)
    a, b, c = (site.place(name) for name in "abc")
    assert a.take(1, 60, 1)
    assert not b.take(1, 60, 2)
    assert not c.take(1, 10, 3)
    assert a.take(1, 60, 1)
    a.give_back()
    assert site.told == ["b", "c"]
    assert b.take(1, 60, 2)
    assert not a.take(2, 60, 1)
    b.give_back()
    assert site.told == ["b", "c", "a"]


def test_the_next_packet_asks_anew_and_behind_the_others() -> None:
    site = Site(100)
    a, b = site.place("a"), site.place("b")
    assert a.take(1, 100, 1)
    assert not b.take(1, 100, 2)
    assert not a.take(2, 100, 1)
    assert site.told == ["b"]
    b.give_back()
    assert site.told == ["b", "a"]


def test_who_has_many_clients_waits_for_itself_with_them() -> None:
    site = Site(100)
    a, b, c, d = (site.place(name) for name in "abcd")
    assert a.take(1, 60, 1)
    assert not b.take(1, 60, 1)
    assert not c.take(1, 60, 1)
    assert d.take(1, 40, 2)
    d.give_back()
    assert not d.take(2, 50, 2)
    a.give_back()
    assert site.told == ["d"]  # before the other clients of the first token
    c.give_back()  # is gone
    d.give_back()
    assert site.told == ["d", "b"]
    b.give_back()
    assert a.take(2, 100, 1)


def test_who_leaves_waits_no_longer() -> None:
    site = Site(100)
    a, b, c = (site.place(name) for name in "abc")
    assert a.take(1, 100, 1)
    assert not b.take(1, 100, 2)
    assert not c.take(1, 100, 3)
    b.give_back()
    a.give_back()
    assert site.told == ["c"]


def test_a_packet_that_takes_too_long_is_over() -> None:
    site = Site(100)
    a = site.place("a")
    assert a.take(1, 60, 1)
    site.passes(SLOWEST - 1)
    assert a.take(2, 60, 1)
    site.passes(2)
    assert site.told == []
    site.passes(SLOWEST)
    assert site.told == ["a over"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100)), max_size=40))
def test_there_is_never_less_than_nothing(steps: list[tuple[int, int]]) -> None:
    site = Site(100)
    places = [site.place(str(number)) for number in range(4)]
    for packet, (number, size) in enumerate(steps):
        if size:
            places[number].take(packet, size, number // 2)
        else:
            places[number].give_back()
        assert 0 <= site.room._left <= 100
    for place in places:
        place.give_back()
    assert site.room._left == 100
    assert [site.room._waiting, site.room._in_turn, site.room._behind] == [{}, {}, {}]
