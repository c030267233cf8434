"""A TCP proxy that spoils the way: delay, jitter, rate, black hole, refusal, reset, cut after N bytes.

    async with ChaosProxy("127.0.0.1", hub_port) as proxy:
        ...                   # the node talks to proxy.port
        proxy.black_hole()
        ...
        proxy.heal()

Faults act on living connections at once, not only on new ones. The port stays ours all the time, also while
it refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import random
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from skerry.kit.bell import Bell

Direction = Literal["up", "down"]
"""«up» is towards the target, «down» is back to whoever connected."""

_CHUNK = 16 * 1024
_BACKLOG = 16
_CONNECTIONS = pathlib.Path("/proc/net/tcp")
_LOOKS, _BETWEEN_LOOKS = 3000, 0.01
"""For half a minute."""

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: closing sends RST


@dataclass
class Path:
    """What the way does to bytes, in seconds and bytes a second; may be changed at any time."""

    delay: float = 0.0
    jitter: float = 0.0
    rate: float | None = None


class ChaosProxy:
    """Forwards a free loopback port to `host`:`port`."""

    def __init__(self, host: str, port: int, *, seed: int = 7) -> None:
        self.path = Path()
        self.port = 0
        self.accepted = 0
        self.forwarded: dict[Direction, int] = {"up": 0, "down": 0}
        self._target = (host, port)
        self._chance = random.Random(seed)
        self._holds = False
        self._opened = Bell()
        self._limits: dict[Direction, int] = {}
        self._again: dict[Direction, int] = {}
        self._fillers: list[socket.socket] = []
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> ChaosProxy:
        self._listener = self._bind()
        self.port = self._listener.getsockname()[1]
        self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.refuse()
        self.reset_all()
        self._listener.close()
        if self._connections:
            await asyncio.wait(self._connections)

    def black_hole(self, *, connects: Literal["accepted", "hanging"] = "accepted") -> None:
        """Holds all bytes until `heal`. New connections are accepted and held too, or never get an answer."""
        self._holds = True
        if connects == "hanging":
            self._accepting.cancel()
            self._fill_backlog()

    def refuse(self) -> None:
        """New connections are refused; living ones go on."""
        self._accepting.cancel()
        self._listener.close()
        self._empty_backlog()
        self._listener = self._bind()

    def reset_all(self) -> None:
        """Every living connection gets a TCP reset on both sides."""
        for task, writers in tuple(self._connections.items()):
            for writer in writers:
                _reset(writer)
            task.cancel()

    def cut_after(self, size: int, direction: Direction) -> None:
        """After `size` more bytes in that direction, and when they were read, everything is reset, once."""
        self._limits[direction] = self.forwarded[direction] + size

    def cut_every(self, size: int, direction: Direction) -> None:
        """As `cut_after`, again and again until `heal`."""
        self._again[direction] = size
        self.cut_after(size, direction)

    def heal(self) -> None:
        """The way is good again: held bytes flow, connections are accepted, nothing is slow."""
        self.path = Path()
        self._holds = False
        self._limits.clear()
        self._again.clear()
        self._opened.ring()
        if self._accepting.cancelled() or self._accepting.cancelling():
            self._empty_backlog()
            self._listen()

    def _bind(self) -> socket.socket:
        # asyncio sets TCP_NODELAY by the listener's protocol number: without, an answer in two parts takes 40 ms more.
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.settimeout(0)
        bound.bind(("127.0.0.1", self.port))
        return bound

    def _listen(self) -> None:
        self._listener.listen(_BACKLOG)
        self._accepting = asyncio.create_task(self._accept(self._listener), name="chaos proxy")

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(listener)
            self.accepted += 1
            task = asyncio.create_task(self._serve(accepted), name="chaos connection")
            self._connections[task] = []
            task.add_done_callback(self._connections.pop)

    def _fill_backlog(self) -> None:
        """A full queue of finished handshakes makes the kernel drop every further SYN."""
        for _ in range(_BACKLOG + 2):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.settimeout(0)
            self._fillers.append(filler)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))

    def _empty_backlog(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()

    async def _serve(self, accepted: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=accepted)
        task = asyncio.current_task()
        assert task is not None
        writers = self._connections[task]
        writers.append(writer)
        try:
            target_reader, target_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        writers.append(target_writer)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, target_writer, "up"))
                pumps.create_task(self._pump(target_reader, writer, "down"))
        except* OSError:
            for one in writers:
                _reset(one)
        finally:
            for one in writers:
                one.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        """Reads ahead while bytes travel, so that a delay does not lower the throughput."""
        travelling: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self._depart(reader, travelling))
            ends.create_task(self._arrive(travelling, writer, direction))

    async def _depart(
        self, reader: asyncio.StreamReader, travelling: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            data = await reader.read(self._chunk())
            late = self.path.delay + self.path.jitter * self._chance.random()
            await travelling.put((loop.time() + late, data))

    async def _arrive(
        self,
        travelling: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await travelling.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            while self._holds:
                await self._opened.after(self._opened.count)
            if not data:
                writer.write_eof()
                return
            await self._forward(data, writer, direction)
            if self.path.rate:
                await asyncio.sleep(len(data) / self.path.rate)

    async def _forward(
        self, data: bytes, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        if writer.is_closing():
            return  # reset just now: nothing of this arrives
        limit = self._limits.get(direction)
        last = limit is not None and self.forwarded[direction] + len(data) >= limit
        if limit is not None and last:
            data = data[: limit - self.forwarded[direction]]
        self.forwarded[direction] += len(data)
        writer.write(data)
        await writer.drain()
        if last:
            del self._limits[direction]
            if direction in self._again:
                self.cut_after(self._again[direction], direction)
            await _read_by_peer(writer)
            self.reset_all()

    def _chunk(self) -> int:
        if self.path.rate is None:
            return _CHUNK
        return max(1, min(_CHUNK, int(self.path.rate / 20)))


async def _read_by_peer(writer: asyncio.StreamWriter) -> None:
    """Returns when nothing waits in the peer's socket, of which a reset would rob it, or the peer reads nothing for long."""
    here, there = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
    looks = 0
    while here and there and _waits(here, there) and looks < _LOOKS:
        looks += 1
        await asyncio.sleep(_BETWEEN_LOOKS)


def _waits(here: tuple[str, int], there: tuple[str, int]) -> bool:
    """Whether bytes from `here` are on the way to the other end of a connection on this machine, or lie there unread."""
    for line in _CONNECTIONS.read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        sent, unread = (int(size, 16) for size in queues.split(":"))
        ends = int(local.partition(":")[2], 16), int(remote.partition(":")[2], 16)
        if (ends == (here[1], there[1]) and sent) or (ends == (there[1], here[1]) and unread):
            return True
    return False


def _reset(writer: asyncio.StreamWriter) -> None:
    held = writer.get_extra_info("socket")
    if held is not None and held.fileno() >= 0:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
