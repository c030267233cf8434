"""The hub's web server: its listening socket, and uvicorn inside our own process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import ipaddress
import logging
import platform
import resource
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import uvicorn
from litestar import Litestar

from skerry.hub.heartbeat import HeartbeatProtocol
from skerry.hub.http_protocol import BoundedProtocol, Listener
from skerry.hub.settings import HubSettings, listen_fault, nodes_listen_fault, split_listen
from skerry.hub.tls_protocol import BoundedTls
from skerry.kit.errors import Refused
from skerry.kit.reception import RequestLimits

log = logging.getLogger(__name__)

RESERVED_FILES = 128
"""Descriptors that connections leave: databases, logs, and whatever libraries open for a moment."""

_PEOPLES_PART = 8
"""One in so many connections is people's where nodes have a listener of their own."""

_MAX_LINK_MESSAGE = 1024 * 1024

_BACKLOG = 2048
"""Connections that may wait to be taken, as uvicorn has it."""


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
        self._tell()

    def _tell(self) -> None:
        log.info("the hub answers at %s", self._address)
        self.answers.set()
        if self._ready is not None:
            self._ready(self._address)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Tls(Protocol):
    """Has the context for each new connection."""

    @property
    def current(self) -> ssl.SSLContext:
        """For the next one."""
        ...


class SecureServer(WebServer):
    """The same behind TLS."""

    def __init__(
        self,
        config: uvicorn.Config,
        address: str,
        tls: Tls,
        listener: Listener,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(config, address, ready)
        self._tls = tls
        self._listener = listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                cast("Callable[[], asyncio.Protocol]", self._accept),
                sock=each,
                backlog=self.config.backlog,
            )
            for each in sockets or ()
        ]
        self.started = True
        self._tell()

    def _accept(self) -> BoundedTls:
        http = BoundedProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            listener=self._listener,
        )
        return BoundedTls(http, self._tls.current, self._listener)


def serve_people(  # noqa: PLR0913 - what is served, to whom, and how
    app: Litestar,
    address: str,
    keepalive: Keepalive,
    limits: RequestLimits,
    tls: Tls | None,
    ready: Callable[[str], None] | None,
    *,
    proxies: Sequence[str] = (),
) -> WebServer:
    """The web server that answers people: with `tls`, or without where only this machine hears it.

    `proxies` are believed when they say who asks.
    """
    shared = Listener(limits)
    config = configure(app, keepalive, shared, proxies)
    if tls is None:
        return WebServer(config, address, ready)
    return SecureServer(config, address, tls, shared, ready)


def limits_of(
    settings: HubSettings, limits: RequestLimits | None
) -> tuple[RequestLimits, RequestLimits]:
    """Of people's listener and of the nodes'.

    Without `limits` they take together as many connections as the process may have files open, but for a reserve.
    """
    if limits is not None:
        return limits, limits
    connections = _connections()
    people = connections // _PEOPLES_PART if settings.nodes.by_certificate else connections
    return RequestLimits(people), RequestLimits(connections - people)


def configure(
    app: Litestar, keepalive: Keepalive, listener: Listener, proxies: Sequence[str] = ()
) -> uvicorn.Config:
    """How uvicorn serves an application of ours."""
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", functools.partial(BoundedProtocol, listener=listener)),
        ws=HeartbeatProtocol,
        ws_max_size=_MAX_LINK_MESSAGE,
        ws_ping_interval=keepalive.interval,
        ws_ping_timeout=keepalive.timeout,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=_as_seen(proxies),
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )


def listen(settings: HubSettings) -> socket.socket:
    """The socket for people. Raises Refused when the hub may not or cannot listen there."""
    fault = listen_fault(settings.listen, secure=settings.tls.is_on)
    if fault is not None:
        raise Refused(f"cannot listen: {fault}")
    return _bound(settings.listen, "listen", "--listen")


def listen_for_nodes(settings: HubSettings) -> socket.socket:
    """The socket for nodes. Raises Refused when the hub may not or cannot listen there."""
    fault = nodes_listen_fault(settings.nodes.listen)
    if fault is not None:
        raise Refused(f"cannot listen: {fault}")
    return _bound(settings.nodes.listen, "nodes.listen", "--nodes-listen")


def _bound(address: str, setting: str, option: str) -> socket.socket:
    host, port = split_listen(address)
    host = "127.0.0.1" if host == "localhost" else host
    # asyncio turns Nagle's delay off only on sockets that say they are TCP; without it every reply takes 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(
            _BACKLOG
        )  # until then two hubs may have the port; whoever calls waits for the start
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Refused(
                f"cannot listen on {address}: another program has this port. Stop it, or choose another port: "
                f"«{setting}» in hub.yaml, {option}, or «make up HUB_PORT=8700», which takes 8701, too."
            ) from error
        raise Refused(f"cannot listen on {address}: {error.strerror}") from error
    return listener


def address_of(listener: socket.socket, scheme: str = "http") -> str:
    """The URL of a listening socket; of one that listens on all addresses, by the machine's name."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = platform.node()
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _as_seen(proxies: Sequence[str]) -> list[str]:
    """The networks, those of IPv4 also as a listener at [::] sees them."""
    found = [ipaddress.ip_network(each) for each in proxies]
    mapped = [
        f"::ffff:{each.network_address}/{96 + each.prefixlen}"
        for each in found
        if isinstance(each, ipaddress.IPv4Network)
    ]
    return [*map(str, found), *mapped]


def _connections() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(files - RESERVED_FILES, files // 2)
