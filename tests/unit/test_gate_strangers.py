"""Who says nothing keeps nobody out, however often it comes, and has its time."""

from skerry.gate.strangers import Strangers
from skerry.keeper.loop import Loop


class Crowd:
    """Four at once, for ten seconds; the time stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.gone: list[str] = []
        self.loop = Loop(lambda: self.now)
        self.strangers = Strangers(4, 10.0, self.loop, lambda: self.now)

    def come(self, *names: str, address: str = "flood") -> None:
        for name in names:
            self.strangers.enter(name, address, lambda name=name: self.gone.append(name))  # type: ignore[misc]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.loop.turn()


def test_whoever_comes_is_let_in_at_once_and_who_was_silent_longest_goes() -> None:
    crowd = Crowd()
    crowd.come(*(f"{number}" for number in range(1000)))
    assert crowd.gone == [f"{number}" for number in range(996)]


def test_an_address_that_floods_makes_room_itself() -> None:
    crowd = Crowd()
    crowd.come("slow", address="quiet")
    crowd.come("slow too", address="another")
    crowd.come("1", "2", "3", "4")
    assert crowd.gone == ["1", "2"]
    crowd.come("5", address="quiet")
    assert crowd.gone == ["1", "2", "3"]


def test_who_has_said_who_it_is_is_left_alone() -> None:
    crowd = Crowd()
    crowd.come("honest", "1", "2", "3")
    crowd.strangers.leave("honest")
    crowd.strangers.leave("honest")
    crowd.come("4")
    assert crowd.gone == []
    crowd.come("5")
    assert crowd.gone == ["1"]


def test_each_has_its_time_and_one_timer_is_for_all() -> None:
    crowd = Crowd()
    crowd.come("a")
    crowd.now = 4.0
    crowd.come("b")
    crowd.pass_time(6.0)
    assert crowd.gone == ["a"]
    crowd.pass_time(4.0)
    assert crowd.gone == ["a", "b"]
    crowd.come(*(f"{number}" for number in range(1000)))
    assert len(crowd.loop._timers) == 1
    crowd.pass_time(10.0)
    assert crowd.gone[-4:] == ["996", "997", "998", "999"]
    assert crowd.loop._timers == []
