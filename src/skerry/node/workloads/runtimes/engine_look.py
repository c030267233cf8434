"""Which container engine answers, for `skerry doctor`: one question, without the containers' room and its memory.

Looks where `containers.engine` would: behind the first socket that exists.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from skerry.kit.one_line import one_line
from skerry.node.workloads.runtimes.engine_version import Version

PATIENCE = 3.0
"""Seconds for the answer; an engine that is started by its socket takes one or two."""

_ASK = b"GET /version HTTP/1.0\r\nHost: engine\r\n\r\n"
_MAX_ANSWER = 1 << 16


class EngineLook(msgspec.Struct, frozen=True):
    """What was found. `words` names the engine; empty when none answers, and `missing` says why."""

    words: str = ""
    missing: str = ""


async def look_for_engine(sockets: Sequence[Path], patience: float = PATIENCE) -> EngineLook:
    """Asks the engine for its version. `patience` is in seconds."""
    socket = next((path for path in sockets if path.exists()), None)
    if socket is None:
        return EngineLook(missing=f"nothing is at {', '.join(map(str, sockets))}")
    try:
        async with asyncio.timeout(patience):
            answer = await _ask(socket)
    except TimeoutError:
        return EngineLook(missing=f"{socket} does not answer within {patience:g} s")
    except OSError as error:
        return EngineLook(missing=f"{socket} does not answer: {error.strerror or error}")
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        found = msgspec.json.decode(body, type=Version)
    except msgspec.DecodeError:
        first = one_line(head.partition(b"\r\n")[0].decode("utf-8", "replace")[:80])
        return EngineLook(missing=f"{socket} answers what no engine would: «{first}»")
    name = "Podman" if found.is_podman else "Docker"
    return EngineLook(f"{name} {found.version} (API {found.api_version}) at {socket}")


async def _ask(socket: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(_ASK)
        answer = bytearray()
        while len(answer) < _MAX_ANSWER and (piece := await reader.read(_MAX_ANSWER)):
            answer += piece
        return bytes(answer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
