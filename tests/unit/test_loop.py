"""The event loop of the keeper and the gate: what is left alone is left alone, and comes back."""

import os
import socket
import time
from collections.abc import Iterator

import pytest

from skerry.keeper.loop import Loop


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    with ours, theirs:
        yield ours, theirs


def test_what_is_left_alone_wakes_nobody_even_when_it_hangs_up(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    loop = Loop(time.monotonic)
    calls: list[str] = []
    loop.watch(ours.fileno(), lambda: calls.append("read"))
    loop.when_readable(ours.fileno(), None)
    theirs.sendall(b"x")
    theirs.close()
    wake, waker = os.pipe()
    loop.watch(wake, lambda: calls.append("woken"))
    os.write(waker, b"x")
    loop.turn()
    assert calls == ["woken"]
    os.read(wake, 1)
    loop.when_writable(ours.fileno(), lambda: calls.append("write"))
    loop.turn()
    loop.when_writable(ours.fileno(), None)
    loop.when_readable(ours.fileno(), lambda: calls.append("read"))
    loop.turn()
    assert calls == ["woken", "write", "read"]
    loop.when_readable(ours.fileno(), None)
    loop.forget(ours.fileno())
    os.close(wake)
    os.close(waker)
