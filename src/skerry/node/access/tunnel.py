"""Tunnels that the hub opens for people: bytes between a channel of the live link and a port of this device.

Only ports that the settings allow are dialled, and only on 127.0.0.1. The hub has checked who asks; what a port gives
away is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection

from skerry.kit.errors import InvalidInput, Refused
from skerry.node.access.entering import Audit, deed_of, entered, said
from skerry.node.channel_port import ServedChannel

DIAL_SECONDS = 2.0
"""Less than the hub waits for an answer."""

_READ = 32 * 1024


class Tunnels:
    """Serves channels of kind «tunnel». `allowed` are the ports as of now; `held` says why no bytes may travel, or nothing."""

    def __init__(
        self, allowed: Callable[[], Collection[int]], held: Callable[[], str], audit: Audit
    ) -> None:
        self._allowed = allowed
        self._held = held
        self._audit = audit

    async def serve(self, channel: ServedChannel) -> None:
        """Until either end closes. Raises InvalidInput, and Refused when the port is not to be had."""
        port = port_named(channel.arguments.get("port", ""))
        deed = deed_of(channel, "open_tunnel", f"port {port}")
        refusal = self._refusal(port)
        if refusal is not None:
            await self._audit.refused(said(deed, str(refusal)), 409)
            raise refusal
        moved = _Moved()
        async with entered(self._audit, deed, when_closed=200, told=moved.in_words):
            reader, writer = await _dial(port)
            try:
                await channel.accept()
                await _carry(channel, reader, writer, moved)
            finally:
                writer.close()

    def _refusal(self, port: int) -> Refused | None:
        if port not in self._allowed():
            return Refused(
                f"cannot open a tunnel to port {port}: the node does not allow it. On the device, name it in «access: "
                f"{{forward: [{port}]}}» of node.yaml, or for SSH run «skerry node ssh-setup»."
            )
        held = self._held()
        if held:
            return Refused(
                f"cannot open a tunnel: only high priority goes over the link now: {held}"
            )
        return None


class _Moved:
    """Bytes to the port and back."""

    def __init__(self) -> None:
        self.to = self.back = 0

    def in_words(self) -> str:
        return f"{self.to} bytes to it, {self.back} back"


def port_named(text: str) -> int:
    """A port's number. Raises InvalidInput."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 65535:
        raise InvalidInput(f"cannot open a tunnel: «{text:.20}» is not a port from 1 to 65535")
    return int(text)


async def _dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            return await asyncio.open_connection("127.0.0.1", port)
    except TimeoutError as error:
        raise Refused(
            f"cannot open a tunnel to port {port}: nothing answers there within {DIAL_SECONDS:.0f} s"
        ) from error
    except OSError as error:
        raise Refused(
            f"cannot open a tunnel to port {port}: {error.strerror or error}. Does anything listen on 127.0.0.1:{port} "
            "of the device?"
        ) from error


async def _carry(
    channel: ServedChannel,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    moved: _Moved,
) -> None:
    """Both directions, each until its own end; a connection that is reset ends both."""

    async def up() -> None:
        while data := await reader.read(_READ):
            await channel.send(data)
            moved.back += len(data)
        await channel.end()

    async def down() -> None:
        while (taken := await channel.receive()) is not None:
            writer.write(taken[0])
            moved.to += len(taken[0])
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    ways = [asyncio.ensure_future(up()), asyncio.ensure_future(down())]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
    for way in done:
        with contextlib.suppress(
            OSError
        ):  # the service has hung up, which is an end like any other
            way.result()
