"""Commands beside native processes, by the keeper: it starts them, their streams are ours. Loaded with the first one.

The keeper ends a command with our connection about it, so it does not outlive the agent. If the keeper dies, its
commands' first processes die with it, and we end the rest by their mark.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import struct
import termios
from functools import partial
from pathlib import Path
from typing import Any

from skerry.keeper import protocol
from skerry.keeper.marks import mark_of, marked
from skerry.keeper.procfs import all_pids, send
from skerry.keeper.protocol import Fields, Message, ProtocolError
from skerry.kit.errors import Refused, Transient
from skerry.kit.ids import random_token
from skerry.node.execution_port import NOT_EXECUTABLE, NOT_FOUND, NoProgram, Send
from skerry.node.ports import ProcessLaunch
from skerry.node.workloads.runtimes.descriptors import Descriptor
from skerry.node.workloads.runtimes.isolation import Prepared
from skerry.node.workloads.runtimes.keeper_client import KeeperClient, KeeperRefusal, open_socket
from skerry.wire.executions import STDERR, STDOUT, Ending, Size, Wish

_PATIENCE = 10.0
_LAST_BYTES = 1.0
"""Seconds without a byte after the end, when somebody to whom the command has handed its stdout keeps that open."""


class ProcessExecution:
    """Implements `Execution`: a connection to the keeper, and our ends of its streams."""

    def __init__(self, wish: Wish) -> None:
        self._name = f"exec-{random_token()}"
        self._end: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._client: KeeperClient | None = None
        self._input: Descriptor | None = None
        self._outputs: list[tuple[Descriptor, int]] = []
        self._terminal: Descriptor | None = None
        self._theirs: list[int] = []
        try:
            if wish.tty:
                self._open_terminal(wish)
            else:
                self._open_pipes(wish)
        except OSError:
            self._close_streams()
            raise

    def _open_terminal(self, wish: Wish) -> None:
        ours, theirs = os.openpty()
        self._theirs = [theirs]
        self._terminal = Descriptor(ours)
        self._outputs = [(self._terminal, STDOUT)]
        self._input = self._terminal if wish.stdin else None
        self._set_size(wish.size)

    def _open_pipes(self, wish: Wish) -> None:
        if wish.stdin:
            theirs, ours = os.pipe()
            self._input = Descriptor(ours)
        else:
            theirs = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._theirs.append(theirs)
        for stream in (STDOUT, STDERR):
            ours, theirs = os.pipe()
            self._theirs.append(theirs)
            self._outputs.append((Descriptor(ours), stream))

    async def begin(self, socket: Path, fields: Fields, words: str) -> None:
        """Has the keeper start it. Raises Refused or Transient, `words` first; a program that is not there is an ending."""
        streams = self._theirs * 3 if self._terminal else self._theirs
        transmit = partial(protocol.transmit, descriptors=streams)
        try:
            sock = open_socket(socket)
        except OSError as error:
            raise Transient(f"{words}: the keeper cannot be reached: {error.strerror}") from error
        client = self._client = KeeperClient(sock, self._on_event, self._on_lost, transmit)
        asked = [("execution", self._name), *fields, ("tty", int(self._terminal is not None))]
        try:
            async with asyncio.timeout(_PATIENCE):
                await client.ask("exec", asked)
        except KeeperRefusal as refusal:
            self._refused(refusal, words)
        except ProtocolError as error:
            raise Refused(f"{words}: {error}") from error
        except TimeoutError as error:
            raise Transient(f"{words}: the keeper does not answer. See keeper.log.") from error
        finally:
            self._close_theirs()

    def _refused(self, refusal: KeeperRefusal, words: str) -> None:
        """A program that cannot be run is what a shell answers by its exit code; all else is no command's end."""
        if refusal.step == "exec" and refusal.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise NoProgram(f"{words}: there is no such program in its PATH", NOT_FOUND)
        if refusal.step == "exec":
            raise NoProgram(f"{words}: {refusal}", NOT_EXECUTABLE)
        if refusal.word == "gone":
            raise Refused(f"{words}: it does not run")
        if refusal.word == "malformed" and "is unknown" in str(refusal):
            raise Refused(
                f"{words}: the keeper of this node is of an older release, and stays while workloads run. Stop them "
                "once: skerry node stop --workloads"
            )
        where = f" (step «{refusal.step}»)" if refusal.step else ""
        raise Refused(f"{words}: {refusal}{where}")

    async def output(self, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            for source, stream in self._outputs:
                _ = group.create_task(self._pass_on(source, stream, send))

    async def _pass_on(self, source: Descriptor, stream: int, send: Send) -> None:
        while data := await self._read(source):
            await send(data, stream)

    async def _read(self, source: Descriptor) -> bytes:
        """As `source.read`; after the command's end it does not wait for ever."""
        reading = asyncio.ensure_future(source.read())
        try:
            waited: list[asyncio.Future[Any]] = [reading, self._end]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait([reading], timeout=_LAST_BYTES)
            return reading.result() if reading.done() else b""
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait([reading])

    async def input(self, data: bytes) -> None:
        if self._input is not None:
            await self._input.write(data)

    async def end_input(self) -> None:
        if self._input is not None and self._input is not self._terminal:
            self._input.close()

    async def resize(self, size: Size) -> None:
        self._set_size(size)

    def _set_size(self, size: Size) -> None:
        terminal = self._terminal
        if terminal is not None and terminal.fd >= 0 and size.rows and size.columns:
            packed = struct.pack("4H", size.rows, size.columns, 0, 0)
            fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, packed)

    async def ended(self) -> Ending:
        return await asyncio.shield(self._end)

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._close_streams()
        if not self._end.cancel() and not self._end.cancelled():
            self._end.exception()  # whether anybody has asked for it or not

    def _close_streams(self) -> None:
        self._close_theirs()
        for each in {self._input, *(source for source, _ in self._outputs)}:
            if each is not None:
                each.close()

    def _close_theirs(self) -> None:
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []

    def _on_event(self, message: Message) -> None:
        if message.get("event") == "ended" and not self._end.done():
            code = message.number("code") if message.get("code") is not None else None
            number = message.number("signal") if message.get("signal") is not None else None
            self._end.set_result(Ending(code, number))

    def _on_lost(self) -> None:
        if not self._end.done():
            for pid in marked(mark_of(self._name), all_pids()):
                send(pid, signal.SIGKILL)
            self._end.set_exception(
                Transient("cannot go on: the keeper has ended, and the command with it")
            )


async def begin(
    socket: Path, launch: ProcessLaunch, prepared: Prepared, wish: Wish
) -> ProcessExecution:
    """Starts a command in an instance as it was launched. Raises Refused (NoProgram) or Transient."""
    environment = launch.environment | {"SKERRY_INSTANCE": launch.instance}
    if wish.tty:
        environment["TERM"] = wish.term
    fields = [
        ("instance", launch.instance),
        ("directory", launch.directory.absolute()),
        *(("arg", word) for word in wish.command),
        *(("env", f"{name}={value}") for name, value in environment.items()),
        *(("limit", f"{name}={value}") for name, value in launch.limits.items()),
        *prepared.fields,
    ]
    words = f"cannot run «{wish.command[0]}» in workload «{launch.workload}»"
    try:
        execution = ProcessExecution(wish)
    except OSError as error:
        raise Transient(f"{words}: no streams for it: {error.strerror}") from error
    async with contextlib.AsyncExitStack() as unless_begun:
        unless_begun.push_async_callback(execution.close)
        await execution.begin(socket, fields, words)
        unless_begun.pop_all()
    return execution
