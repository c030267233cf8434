"""The event loop of the keeper and the gate: what is left alone is left alone, and comes back."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

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


@pytest.mark.guarantee("G9")
def test_what_is_left_alone_keeps_its_place_in_the_system(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Of what may be watched there may be nothing left when it comes back."""
    ours, _ = pair
    loop = Loop(time.monotonic)
    known = Path(f"/proc/self/fdinfo/{loop.highest_fd}")
    loop.watch(ours.fileno(), lambda: None)
    loop.when_readable(ours.fileno(), None)
    assert [line.split()[1] for line in known.read_text().splitlines() if "tfd" in line] == [
        str(ours.fileno())
    ]
    loop.forget(ours.fileno())
    assert "tfd" not in known.read_text()
