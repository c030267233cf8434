"""Where clients come in: two ports on 127.0.0.1, and on the addresses of container networks that the agent names.

Some engines give a network's address to the device with its first container, and take it away with the last one: the gate
listens there all the same, so that no container has to wait for anybody to notice.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence

from skerry.gate.records import NamedTuple
from skerry.keeper.loop import Loop

HERE = "127.0.0.1"
_BACKLOG = 512
_AT_ONCE = 16
_PAUSE = 0.1

_FREEBIND = {
    socket.AF_INET: (socket.IPPROTO_IP, 15),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 78),
}
"""Linux' IP_FREEBIND and IPV6_FREEBIND, which Python does not name: to listen at an address that is not there yet."""


class Service(NamedTuple):
    """What is offered at a port. `welcome` raises OSError for a connection that it has not taken."""

    port: int
    welcome: Callable[[socket.socket], object]


class Listeners:
    """The listening sockets of the services. Opening the first ones raises OSError."""

    def __init__(self, loop: Loop, services: Sequence[Service]) -> None:
        self._loop = loop
        self._services = services
        self._hosts: dict[str, list[socket.socket]] = {}
        self._open(HERE)

    def listen(self, hosts: Sequence[str]) -> list[str]:
        """Listens at those beside 127.0.0.1 and nowhere else; returns where it cannot, and why. What is connected stays."""
        for gone in self._hosts.keys() - {HERE, *hosts}:
            self._close(self._hosts.pop(gone))
        failed = []
        for host in hosts:
            try:
                if host not in self._hosts:
                    self._open(_checked(host))
            except (OSError, ValueError) as error:
                failed.append(f"{host}: {error}")
        return failed

    def _open(self, host: str) -> None:
        opened: list[socket.socket] = []
        watched: list[socket.socket] = []
        try:
            opened.extend(_listener(host, service.port) for service in self._services)
            for sock, service in zip(opened, self._services, strict=True):
                accept(sock, self._loop, service.welcome)
                watched.append(sock)
        except OSError:
            self._close(watched)
            for sock in opened[len(watched) :]:
                sock.close()
            raise
        self._hosts[host] = opened

    def _close(self, socks: Sequence[socket.socket]) -> None:
        for sock in socks:
            self._loop.forget(sock.fileno())
            sock.close()


def accept(sock: socket.socket, loop: Loop, welcome: Callable[[socket.socket], object]) -> None:
    """Has whoever connects to a listening socket welcomed, as `Service`, until it is closed. Raises OSError."""

    def come() -> None:
        for _ in range(_AT_ONCE):
            if sock.fileno() < 0:
                return
            try:
                accepted = sock.accept()[0]
            except BlockingIOError:
                return  # nobody is left
            except OSError:  # the peer gave up, or descriptors or memory are short
                loop.when_readable(sock.fileno(), None)
                loop.later(_PAUSE, again)
                return
            try:
                welcome(accepted)
            except OSError:
                accepted.close()  # it is gone already, or nothing more can be watched

    def again() -> None:
        if sock.fileno() >= 0:
            loop.when_readable(sock.fileno(), come)

    loop.watch(sock.fileno(), come)


def _checked(host: str) -> str:
    """One address, never all of them. Raises OSError, ValueError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not any(socket.inet_pton(family, host)):
        raise ValueError("it stands for every address of this device")
    return host


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if sys.platform == "linux":
            sock.setsockopt(*_FREEBIND[family], 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.settimeout(0)
    except OSError:
        sock.close()
        raise
    return sock
