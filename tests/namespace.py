"""A network namespace that reaches this one over a cable, and that nothing reaches: its inbound ports are closed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator

import pytest


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=30)


class Namespace:
    """`prefix` puts a command into it. It reaches this one at `here` and is itself `there`, addresses of its own for each test process."""

    def __init__(self) -> None:
        number = os.getpid() % (1 << 14)
        net, first = number >> 6, (number % 64) * 4
        self.here, self.there = f"198.18.{net}.{first + 1}", f"198.18.{net}.{first + 2}"
        self.name = f"sk-{os.getpid()}"
        self.prefix = ["ip", "netns", "exec", self.name]

    def make(self) -> None:
        """Raises CalledProcessError where it is not permitted."""
        run("ip", "netns", "add", self.name)
        outer, inner = f"sko{os.getpid()}"[:15], f"ski{os.getpid()}"[:15]
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        run("ip", "link", "set", inner, "netns", self.name)
        run("ip", "address", "add", f"{self.here}/30", "dev", outer)
        run("ip", "link", "set", outer, "up")
        run(*self.prefix, "ip", "link", "set", "lo", "up")
        run(*self.prefix, "ip", "address", "add", f"{self.there}/30", "dev", inner)
        run(*self.prefix, "ip", "link", "set", inner, "up")
        # Whoever begins a connection from outside hears nothing; answers to those from inside come in.
        run(*self.prefix, "iptables", "-A", "INPUT", "!", "-i", "lo", "-p", "tcp", "--syn", "-j", "DROP")  # fmt: skip

    def remove(self) -> None:
        """With the cable; harmless when there is none."""
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)
        subprocess.run(
            ["ip", "link", "delete", f"sko{os.getpid()}"[:15]], capture_output=True, check=False
        )


@contextlib.asynccontextmanager
async def namespace() -> AsyncIterator[Namespace]:
    """Gone at the end."""
    made = Namespace()
    try:
        made.make()
    except subprocess.CalledProcessError:
        made.remove()
        pytest.skip("making a network namespace is not permitted")
    try:
        yield made
    finally:
        made.remove()


@contextlib.asynccontextmanager
async def reachable_from(namespace: Namespace, port: int) -> AsyncIterator[int]:
    """A port of `namespace.here` that leads to one of loopback, as a proxy before the hub would."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            back, onward = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pass(reader, onward), _pass(back, writer))

    server = await asyncio.start_server(serve, namespace.here, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
