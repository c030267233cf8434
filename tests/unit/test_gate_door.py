"""Connections to a socket that may be away: held in order, a few at a time, and not for ever."""

import socket
from pathlib import Path

from skerry.gate.door import Door
from skerry.keeper.loop import Loop


class Time:
    """A clock in the test's hand, and everything that came through the door."""

    def __init__(self, path: Path, width: int = 2) -> None:
        self.now = 0.0
        self.loop = Loop(lambda: self.now)
        self.door = Door(str(path), self.loop, lambda: self.now, width)
        self.arrived: list[tuple[int, bool]] = []
        self._socks: list[socket.socket] = []

    def enter(self, number: int, patience: float = 8.0) -> None:
        def come(sock: socket.socket | None) -> None:
            self.arrived.append((number, sock is not None))
            if sock:
                self._socks.append(sock)

        self.door.enter(patience, come)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.loop.later(0, lambda: None)
        self.loop.turn()

    def close(self) -> None:
        for sock in self._socks:
            sock.close()


def test_who_comes_while_nobody_listens_is_let_in_later_and_in_order(short_dir: Path) -> None:
    time = Time(short_dir / "s", width=2)
    for number in range(3):
        time.enter(number)
    time.passes(1)
    assert time.arrived == []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_dir / "s"))
        listener.listen()
        time.passes(1)
        assert time.arrived == [(0, True), (1, True)]
        time.passes(1)
        assert len(time.arrived) == 2
        time.door.through()
        time.passes(0)
        assert time.arrived == [(0, True), (1, True), (2, True)]
        time.enter(3)
        time.door.through()
        time.passes(0)
        assert time.arrived[3:] == [(3, True)]
    time.close()


def test_patience_ends_for_each_by_itself(short_dir: Path) -> None:
    time = Time(short_dir / "s")
    time.enter(1, 8.0)
    time.enter(2, 20.0)
    time.passes(7.9)
    assert time.arrived == []
    time.passes(0.2)
    assert time.arrived == [(1, False)]
    time.passes(12)
    assert time.arrived == [(1, False), (2, False)]


def test_a_line_that_is_full_is_waited_for(short_dir: Path) -> None:
    time = Time(short_dir / "s", width=100)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_dir / "s"))
        listener.listen(1)
        for number in range(10):
            time.enter(number)
        assert 0 < len(time.arrived) < 10
        for _ in range(20):
            listener.settimeout(0.01)
            try:
                listener.accept()[0].close()
            except TimeoutError:
                break
            time.passes(0.1)
        assert time.arrived == [(number, True) for number in range(10)]
    time.close()
