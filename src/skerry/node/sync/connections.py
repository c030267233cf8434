"""Connections to the hub: who is believed there, and how long it is waited for."""

from __future__ import annotations

import socket
import ssl
import sys
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import AddrInfoType, ClientTimeout

from skerry.kit.authorities import authorities
from skerry.kit.redirects import none_followed
from skerry.node.sync.failures import cause_of


class Patience(msgspec.Struct, frozen=True):
    """Seconds to wait before the hub counts as gone; `slowest` is the least bytes a second that a path may carry.

    Of `connect`, with its TLS, the system has three for the first answer (`_asked_twice`). The hub pings every 20, so
    `ping_every` is for one that does not.
    """

    connect: float = 10.0
    answer: float = 5.0
    slowest: float = 4096.0
    ping_every: float = 25.0
    silence: float = 45.0

    def of(self, size: int) -> ClientTimeout:
        """For a request with a body of `size` bytes, which a slow path needs time to carry."""
        return ClientTimeout(
            total=None,
            connect=self.connect,
            sock_connect=self.connect,
            sock_read=self.answer + size / self.slowest,
        )

    def cause_of(self, error: Exception) -> str:
        """Why there was no answer, in a few plain words."""
        return cause_of(error, self.connect, self.answer)


PATIENCE = Patience()


def open_session(
    patience: Patience = PATIENCE,
    ca_file: Path | None = None,
    tls: ssl.SSLContext | None = None,
) -> aiohttp.ClientSession:
    """The connections to the hub; call it in the event loop, close it at the end. Raises InvalidInput.

    `tls` says who is believed and what is shown; without it everybody is whom the authorities of the system know, or
    those in `ca_file`.
    asyncio sets TCP_NODELAY. Idle connections are dropped before proxies drop them (often after 5 s).
    Answers are decompressed by the codec: aiohttp would need another zstd library.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            keepalive_timeout=4.0, ssl=tls or authorities(ca_file), socket_factory=_asked_twice
        ),
        timeout=patience.of(0),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[none_followed()],
    )


def _asked_twice(address: AddrInfoType) -> socket.socket:
    """The system asks for a connection twice, at once and a second later, and gives up after three seconds.

    It would ask ever more rarely, so of a path that is good again we would hear late: the next try asks at once.
    """
    made = socket.socket(*address[:3])
    if sys.platform == "linux":
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
    return made
