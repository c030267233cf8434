"""A host of weights that lies, and the model at the hub that names it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tests.model_cases import content, sha256

MODEL = """
kind: model
name: {name}
source: {{url: "http://127.0.0.1:{port}/{name}.onnx"}}
files: [{{name: cat.onnx, sha256: {digest}, size: 3000}}]
"""


class Weights:
    """A host of weights that says whatever it likes, and notes what it is asked."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n")
            if self.answer == "wrong":
                writer.write(b"Content-Length: 3000\r\n\r\n" + content(3000, 2))
            else:
                writer.write(b"\r\n")
                while True:
                    writer.write(b"\0" * 65536)
                    self.sent += 65536
                    await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()


def files_of(place: Path) -> dict[Path, int]:
    """All below a directory of a node that lives, with their sizes: what goes while it is looked at is left out."""
    found = {}
    for directory, _, names in os.walk(place):
        for path in (Path(directory, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                found[path] = path.lstat().st_size
    return found


def model_at(port: int, name: str = "cat") -> bytes:
    """The hub's word about it: its weights are others than the host gives."""
    return MODEL.format(name=name, port=port, digest=sha256(content(3000))).encode()


@contextlib.asynccontextmanager
async def lying(answer: str) -> AsyncIterator[tuple[Weights, int]]:
    """The host and its port."""
    weights = Weights(answer)
    server = await asyncio.start_server(weights.serve, "127.0.0.1", 0)
    async with server:
        yield weights, server.sockets[0].getsockname()[1]
