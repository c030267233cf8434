"""The hub's web server: its listening socket, and uvicorn inside our own process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import resource
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import uvicorn

from skerry.hub.app import Features, build_app
from skerry.hub.heartbeat import HeartbeatProtocol
from skerry.hub.http_protocol import BoundedProtocol, Listener
from skerry.hub.settings import HubSettings, listen_fault
from skerry.kit.errors import Refused
from skerry.kit.reception import RequestLimits

log = logging.getLogger(__name__)

RESERVED_FILES = 128
"""Descriptors that connections leave: databases, logs, and whatever libraries open for a moment."""

_MAX_LINK_MESSAGE = 1024 * 1024


@dataclass(frozen=True)
class Keepalive:
    """Seconds between pings on a live link, and after how many more without a pong the peer counts as dead."""

    interval: float = 20.0
    timeout: float = 25.0


DEFAULT_KEEPALIVE = Keepalive()


class WebServer(uvicorn.Server):
    """uvicorn that takes no signals, and calls `ready` with its address once it answers."""

    def __init__(
        self, config: uvicorn.Config, address: str, ready: Callable[[str], None] | None
    ) -> None:
        super().__init__(config)
        self._address = address
        self._ready = ready
        self.answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        log.info("the hub answers at %s", self._address)
        self.answers.set()
        if self._ready is not None:
            self._ready(self._address)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def configure(
    features: Features, keepalive: Keepalive, limits: RequestLimits | None
) -> uvicorn.Config:
    """Without `limits` it takes as many connections as the process may have files open, but for a reserve."""
    limits = limits or RequestLimits(_connections())
    return uvicorn.Config(
        build_app(features),
        http=cast(
            "type[asyncio.Protocol]", functools.partial(BoundedProtocol, listener=Listener(limits))
        ),
        ws=HeartbeatProtocol,
        ws_max_size=_MAX_LINK_MESSAGE,
        ws_ping_interval=keepalive.interval,
        ws_ping_timeout=keepalive.timeout,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )


def listen(settings: HubSettings) -> socket.socket:
    """The socket that the hub listens on. Raises Refused when it may not or cannot listen."""
    fault = listen_fault(settings.listen)
    if fault is not None:
        raise Refused(f"cannot listen: {fault}")
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    # asyncio turns Nagle's delay off only on sockets that say they are TCP; without it every reply takes 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, settings.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Refused(
                f"cannot listen on {settings.listen}: another program has this port. Stop it, or choose "
                "another port: «listen» in hub.yaml, SKERRY_HUB_LISTEN, or «make up HUB_PORT=8601»."
            ) from error
        raise Refused(f"cannot listen on {settings.listen}: {error.strerror}") from error
    return listener


def address_of(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _connections() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(files - RESERVED_FILES, files // 2)
