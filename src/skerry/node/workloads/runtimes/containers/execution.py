"""Commands inside containers, by the engine's own «exec» and one hijacked connection. Loaded with the first one.

Engines leave a command running when nobody is connected any more. So it carries a text in its environment, and the
keeper ends, with us or when the agent dies, whoever has it (`skerry.keeper.executions`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from pathlib import Path

import msgspec

from skerry.keeper import protocol
from skerry.kit.errors import Refused, Transient
from skerry.kit.ids import random_token
from skerry.kit.one_line import one_line
from skerry.node.execution_port import NOT_FOUND, NoProgram, Send
from skerry.node.workloads.runtimes.containers.engine import Engine, EngineRefusal
from skerry.node.workloads.runtimes.keeper_client import KeeperClient, KeeperRefusal, open_socket
from skerry.wire.executions import STDERR, STDOUT, Ending, Size, Wish
from skerry.wire.link import LARGEST

_VARIABLE = "SKERRY_EXEC"
_HEAD = 8
_STREAMS = {1: STDOUT, 2: STDERR}
_PATIENCE = 30.0
_LOOK_EVERY = 0.25
"""Seconds between two questions whether it still runs: engines tell its end by nothing else when others hold its output."""

_MISSING = re.compile(r"executable file not found|no such file or directory", re.IGNORECASE)


class _Made(msgspec.Struct, frozen=True, rename="pascal"):
    id: str


class _Found(msgspec.Struct, frozen=True, rename="pascal"):
    running: bool = False
    exit_code: int | None = None


class _Complaint(msgspec.Struct, frozen=True):
    message: str = ""


class ContainerExecution:
    """Implements `Execution`. `tie` is the connection with which the keeper has it end."""

    def __init__(
        self,
        engine: Engine,
        path: str,
        wish: Wish,
        tie: KeeperClient,
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._engine = engine
        self._path = path
        self._wish = wish
        self._tie = tie
        self._reader, self._writer = connection

    async def output(self, send: Send) -> None:
        """Until the engine has no more; once the command itself has ended, what it has left behind is ended."""
        watching = asyncio.ensure_future(self._watch())
        try:
            await self._pass_on(send)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Transient(f"cannot go on: the container engine hung up: {error}") from error
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _pass_on(self, send: Send) -> None:
        if self._wish.tty:
            while data := await self._reader.read(LARGEST):
                await send(data, STDOUT)
            return
        while head := await self._reader.read(1):
            head += await self._reader.readexactly(_HEAD - 1)
            left = int.from_bytes(head[4:])
            while left:
                data = await self._reader.read(min(left, LARGEST))
                if not data:
                    return
                left -= len(data)
                await send(data, _STREAMS.get(head[0], STDOUT))

    async def _watch(self) -> None:
        with contextlib.suppress(Transient, Refused):  # `ended` asks again
            _ = await self._over()
            self._tie.close()

    async def input(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody reads it any more
            self._writer.write(data)
            await self._writer.drain()

    async def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def resize(self, size: Size) -> None:
        if self._wish.tty and size.rows and size.columns:
            query = {"h": str(size.rows), "w": str(size.columns)}
            with contextlib.suppress(EngineRefusal):  # it has just ended
                await self._engine.call("POST", f"{self._path}/resize", query)

    async def ended(self) -> Ending:
        return Ending((await self._over()).exit_code)

    async def _over(self) -> _Found:
        """How the engine shows it once it does not run any more."""
        while True:
            answer = await self._engine.call("GET", f"{self._path}/json")
            found = msgspec.json.decode(answer, type=_Found)
            if not found.running:
                return found
            await asyncio.sleep(_LOOK_EVERY)

    async def close(self) -> None:
        self._tie.close()
        self._writer.close()


async def begin(
    engine: Engine, container: str, wish: Wish, workload: str, keeper: Path
) -> ContainerExecution:
    """Starts a command in a workload's container (empty: it has none). Raises Refused (NoProgram) or Transient.

    `keeper` is the socket of whoever sees to its end.
    """
    words = f"cannot run «{wish.command[0]}» in workload «{workload}»"
    if not container:
        raise Refused(f"{words}: it does not run")
    text = f"{_VARIABLE}={random_token()}"
    with contextlib.ExitStack() as unless_begun:
        tie = await _tie(keeper, text, words)
        unless_begun.callback(tie.close)
        path = f"/exec/{await _make(engine, container, wish, text, words)}"
        connection = await _hijack(engine, f"{path}/start", wish, words)
        unless_begun.callback(connection[1].close)
        execution = ContainerExecution(engine, path, wish, tie, connection)
        await execution.resize(wish.size)
        unless_begun.pop_all()
    return execution


async def _tie(keeper: Path, text: str, words: str) -> KeeperClient:
    try:
        client = KeeperClient(open_socket(keeper), lambda _: None, lambda: None, protocol.transmit)
    except OSError as error:
        raise Transient(f"{words}: the keeper cannot be reached: {error.strerror}") from error
    with contextlib.ExitStack() as unless_tied:
        unless_tied.callback(client.close)
        try:
            async with asyncio.timeout(_PATIENCE):
                await client.ask("tie", [("text", text)])
        except (KeeperRefusal, TimeoutError) as error:
            raise Refused(
                f"{words}: the keeper cannot see to its end: {error}. A keeper of an older release stays "
                "while workloads run; stop them once: skerry node stop --workloads"
            ) from error
        unless_tied.pop_all()
    return client


async def _make(engine: Engine, container: str, wish: Wish, text: str, words: str) -> str:
    environment = [text, f"TERM={wish.term}"] if wish.tty else [text]
    body = {
        "Cmd": wish.command, "Env": environment, "Tty": wish.tty,
        "AttachStdin": wish.stdin, "AttachStdout": True, "AttachStderr": True,
    }  # fmt: skip
    try:
        answer = await engine.call("POST", f"/containers/{container}/exec", body=body)
    except EngineRefusal as refusal:
        raise Refused(f"{words}: {refusal}") from refusal
    return msgspec.json.decode(answer, type=_Made).id


async def _hijack(
    engine: Engine, path: str, wish: Wish, words: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that is the command's streams from its answer on."""
    body = json.dumps({"Detach": False, "Tty": wish.tty}).encode()
    head = (
        f"POST {engine.prefix}{path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_unix_connection(engine.socket, limit=LARGEST)
    except (OSError, TimeoutError) as error:
        raise engine.gone(error) from error
    with contextlib.ExitStack() as unless_begun:
        unless_begun.callback(writer.close)
        try:
            async with asyncio.timeout(_PATIENCE):
                writer.write(head.encode() + body)
                await writer.drain()
                await _check(reader, words)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise engine.gone(error) from error
        unless_begun.pop_all()
    return reader, writer


async def _check(reader: asyncio.StreamReader, words: str) -> None:
    answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    if int(answer.split(" ", 2)[1]) >= 400:
        raise _refusal(await _body(reader, answer), words)


async def _body(reader: asyncio.StreamReader, head: str) -> bytes:
    found = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
    return await reader.readexactly(min(int(found[1]), LARGEST)) if found else b""


def _refusal(body: bytes, words: str) -> Refused:
    try:
        said = one_line(msgspec.json.decode(body, type=_Complaint).message)
    except msgspec.DecodeError:
        said = "the engine refuses it"
    if _MISSING.search(said):
        return NoProgram(f"{words}: {said}", NOT_FOUND)
    return Refused(f"{words}: {said}")
