"""PouchDB and express-pouchdb as the peer of the benches: the server, and the steps of `pouchdb/rows.js`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
from tests.installation import free_port

from skerry.testing.chaos_proxy import ChaosProxy

ADAPTERS = ("memory", "leveldb")
_SECONDS = 300.0


class _Told(msgspec.Struct, frozen=True):
    """A line of rows.js."""

    step: str
    seconds: float | list[float]
    rss: int


class Step(msgspec.Struct, frozen=True):
    """What became of one step: seconds, one for each round, and bytes on the wire both ways."""

    seconds: list[float]
    size: int
    rss_mb: float


@contextlib.contextmanager
def server(directory: Path, scratch: Path, adapter: str) -> Iterator[int]:
    """express-pouchdb of the runners in `directory`, on the port that is returned; gone at the end."""
    port = free_port()
    words = ["node", str(directory / "server.js"), adapter, str(port), str(scratch)]
    process = subprocess.Popen(
        words,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def steps(directory: Path, place: Path, adapter: str, documents: Path) -> dict[str, Step]:
    """Runs rows.js through a proxy that counts, as our nodes go through one."""
    near = place / adapter / "client"
    near.mkdir(parents=True)
    found: dict[str, Step] = {}
    with server(directory, place / adapter, adapter) as port:
        async with ChaosProxy("127.0.0.1", port) as way:
            words = ["node", "rows.js", adapter, str(way.port), str(near), str(documents)]
            process = await asyncio.create_subprocess_exec(
                *words, cwd=directory, stdout=asyncio.subprocess.PIPE, start_new_session=True
            )
            try:
                assert process.stdout is not None
                before = 0
                async with asyncio.timeout(_SECONDS):
                    async for line in process.stdout:
                        told = msgspec.json.decode(line, type=_Told)
                        travelled = sum(way.forwarded.values())
                        seconds = told.seconds if isinstance(told.seconds, list) else [told.seconds]
                        found[told.step] = Step(seconds, travelled - before, told.rss / 2**20)
                        before = travelled
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    assert "document" in found, found
    return found
