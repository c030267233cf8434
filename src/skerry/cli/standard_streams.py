"""Stdin, stdout and stderr of this process, from the event loop and without more than a piece of them in memory."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
import tty
from collections.abc import Callable, Iterator

from skerry.wire.executions import Size
from skerry.wire.link import LARGEST


async def read_input() -> bytes:
    """Some bytes of stdin; none at its end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(0, lambda: None if ready.done() else ready.set_result(None))
    except PermissionError:  # a file: it is always ready
        return os.read(0, LARGEST)
    try:
        await ready
    finally:
        loop.remove_reader(0)
    try:
        return os.read(0, LARGEST)
    except OSError:  # the terminal has gone
        return b""


async def write_all(fd: int, data: bytes) -> None:
    """Returns when whoever reads it has taken it. Raises OSError when nobody does."""
    await asyncio.to_thread(_write, fd, data)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def window_size() -> Size:
    """Of the terminal on stdin; nothing is known without one."""
    try:
        rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return Size()
    return Size(rows, columns)


@contextlib.contextmanager
def raw_terminal(on_resize: Callable[[], None]) -> Iterator[None]:
    """Each key goes where stdin is read, Ctrl-C too, until the block ends, however it ends.

    SIGTERM and SIGHUP cancel the task that is in the block, for the terminal's sake.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    before = termios.tcgetattr(0)
    loop.add_signal_handler(signal.SIGWINCH, on_resize)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if task is not None:
            loop.add_signal_handler(number, task.cancel)
    try:
        tty.setraw(0, termios.TCSADRAIN)
        yield
    finally:
        with contextlib.suppress(termios.error):  # it has gone
            termios.tcsetattr(0, termios.TCSADRAIN, before)
        for number in (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
