"""A peer that reads too slowly has its time, and then counts as gone."""

import socket
from collections.abc import Iterator

import pytest

from skerry.gate.streams import FULL, Stream
from skerry.keeper.loop import Loop

PATIENCE = 30.0


class Slow:
    """A stream to a peer that reads when a test has it read, and the time, which is the test's."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.now = 0.0
        self.gone = 0
        self.relieved = 0
        self.loop = Loop(lambda: self.now)
        self._theirs = theirs
        self.stream = Stream(ours, self.loop, lambda _: None, self._end)

    def _end(self) -> None:
        self.gone += 1

    def fill(self) -> None:
        while not self.stream.when_relieved(self._relieve, PATIENCE):
            self.stream.send(bytes(FULL))

    def _relieve(self) -> None:
        self.relieved += 1

    def read_all(self) -> None:
        self._theirs.settimeout(0)
        while self.stream.waiting:
            try:
                while self._theirs.recv(1 << 20):
                    continue
            except BlockingIOError:
                self.loop.turn()

    def pass_time(self, seconds: float) -> None:
        """The loop has another timer, so that it does not wait."""
        self.now += seconds
        self.loop.later(0.0, lambda: None)
        self.loop.turn()


@pytest.fixture
def slow() -> Iterator[Slow]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Slow(ours, theirs)


def test_who_takes_too_little_for_too_long_is_gone(slow: Slow) -> None:
    slow.fill()
    slow.pass_time(PATIENCE - 1)
    assert slow.stream.open
    slow.pass_time(1)
    assert (slow.stream.open, slow.gone, slow.relieved) == (False, 1, 0)


def test_who_reads_in_time_goes_on_and_has_its_time_anew(slow: Slow) -> None:
    slow.fill()
    slow.read_all()
    assert slow.relieved == 1
    slow.fill()
    assert len(slow.loop._timers) == 1
    slow.pass_time(PATIENCE)
    assert slow.stream.open
    slow.pass_time(PATIENCE)
    assert (slow.stream.open, slow.gone) == (False, 1)


def test_who_has_read_all_may_be_silent(slow: Slow) -> None:
    slow.fill()
    slow.read_all()
    slow.pass_time(10 * PATIENCE)
    assert slow.stream.open
    assert slow.loop._timers == []
    slow.stream.close()
