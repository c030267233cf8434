"""Devices that come and go, as the kernel tells: a netlink socket for its «uevents», which any user may open."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

_UEVENTS = 15
_KERNEL = 1

SETTLE = 0.2
"""Seconds: one device tells its parts one after the other."""

_MAX_EVENT = 64 * 1024
_SUBSYSTEMS = (b"SUBSYSTEM=usb", b"SUBSYSTEM=tty", b"SUBSYSTEM=video4linux", b"SUBSYSTEM=hidraw")


def listen(on_change: Callable[[], None]) -> Callable[[], None]:
    """Calls `on_change` after devices have come or gone; returns what ends that. Raises OSError."""
    loop = asyncio.get_running_loop()
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _UEVENTS)
    events.bind((0, _KERNEL))
    timer: asyncio.TimerHandle | None = None

    def read() -> None:
        nonlocal timer
        concerns = False
        with contextlib.suppress(BlockingIOError):
            while True:
                concerns |= _concerns(_next(events))
        if concerns:
            if timer is not None:
                timer.cancel()
            timer = loop.call_later(SETTLE, on_change)

    def stop() -> None:
        loop.remove_reader(events)
        events.close()
        if timer is not None:
            timer.cancel()

    loop.add_reader(events, read)
    return stop


def _next(events: socket.socket) -> bytes:
    try:
        return events.recv(_MAX_EVENT)
    except OSError as error:
        if error.errno == errno.ENOBUFS:  # some were lost: look
            return _SUBSYSTEMS[0]
        raise


def _concerns(event: bytes) -> bool:
    return any(part in _SUBSYSTEMS for part in event.split(b"\0"))
