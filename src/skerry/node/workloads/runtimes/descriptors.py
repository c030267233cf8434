"""Reading and writing pipes and terminals from the event loop, as fast as the other end allows and no faster."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

from skerry.wire.link import LARGEST


class Descriptor:
    """Our end of a pipe or of a terminal. One reader and one writer at a time."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._loop = asyncio.get_running_loop()

    async def read(self) -> bytes:
        """Some bytes; none at the end."""
        while self.fd >= 0:
            try:
                return os.read(self.fd, LARGEST)
            except BlockingIOError:
                await self._wait(self._loop.add_reader, self._loop.remove_reader)
            except OSError as error:
                if error.errno == errno.EIO:  # nobody has the terminal any more
                    return b""
                raise
        return b""

    async def write(self, data: bytes) -> None:
        """Returns when all is taken, or nobody reads any more."""
        view = memoryview(data)
        while view and self.fd >= 0:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                await self._wait(self._loop.add_writer, self._loop.remove_writer)
            except (BrokenPipeError, OSError):
                return

    def close(self) -> None:
        """Harmless when it is closed. Nobody must be waiting."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    async def _wait(
        self, add: Callable[[int, Callable[[], None]], object], remove: Callable[[int], bool]
    ) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        fd = self.fd

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        add(fd, wake)
        try:
            await ready
        finally:
            remove(fd)
