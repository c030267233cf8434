"""Where clients come in: two ports on 127.0.0.1, and on the addresses of container networks that the agent names.

Some engines give a network's address to the device with its first container, and take it away with the last one: the gate
listens there all the same, so that no container has to wait for anybody to notice.

A gate begins with what the gate before it has listened at (`inherited`): the keeper holds that meanwhile, so whoever connects
waits for the next gate, and nobody else can listen there and be told tokens.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from skerry.gate.records import NamedTuple
from skerry.keeper.loop import Loop

HERE = "127.0.0.1"
_BACKLOG = 512
_AT_ONCE = 16
_PAUSE = 0.1
_FIRST_INHERITED = 3
_MOST = 64
"""Addresses: the gate tells the agent of all its sockets in one message."""

_FREEBIND = {
    socket.AF_INET: (socket.IPPROTO_IP, 15),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 78),
}
"""Linux' IP_FREEBIND and IPV6_FREEBIND, which Python does not name: to listen at an address that is not there yet."""


class Service(NamedTuple):
    """What is offered at a port. `welcome` raises OSError for a connection that it has not taken."""

    port: int
    welcome: Callable[[socket.socket], object]


def inherited(environment: Mapping[str, str], pid: int) -> list[socket.socket]:
    """What this process has been given to listen at (sd_listen_fds(3))."""
    if environment.get("LISTEN_PID") != str(pid):
        return []
    count = int(environment["LISTEN_FDS"])
    return [socket.socket(fileno=_FIRST_INHERITED + number) for number in range(count)]


class Listeners:
    """The listening sockets of the services: those that are given, at all their addresses, and new ones where there is none.

    Opening those at 127.0.0.1 raises OSError.
    """

    def __init__(
        self, loop: Loop, services: Sequence[Service], given: Iterable[socket.socket] = ()
    ) -> None:
        self._loop = loop
        self._services = services
        self._hosts: dict[str, list[socket.socket]] = {}
        self._given = {_name(sock): sock for sock in given}
        self._open(HERE)
        self.listen({host for host, _ in self._given})
        for sock in self._given.values():
            sock.close()  # of a port that was another one's
        self._given.clear()

    def sockets(self) -> list[socket.socket]:
        """All of them: no more than one message takes along."""
        return [sock for opened in self._hosts.values() for sock in opened]

    def listen(self, hosts: Iterable[str]) -> list[str]:
        """Listens at those beside 127.0.0.1 and nowhere else; returns where it cannot, and why. What is connected stays."""
        failed = []
        wanted: dict[str, str] = {}
        for host in hosts:
            try:
                wanted[_one(host)] = host
            except (OSError, ValueError) as error:
                failed.append(f"{host}: {error}")
        for gone in self._hosts.keys() - {HERE, *wanted}:
            self._close(self._hosts.pop(gone))
        for address, host in wanted.items():
            try:
                if address not in self._hosts:
                    self._open(address)
            except OSError as error:
                failed.append(f"{host}: {error}")
        return failed

    def _open(self, host: str) -> None:
        if len(self._hosts) == _MOST:
            raise OSError(f"the gate listens at {_MOST} addresses, and at no more")
        opened: list[socket.socket] = []
        watched: list[socket.socket] = []
        try:
            opened.extend(self._listener(host, service.port) for service in self._services)
            for sock, service in zip(opened, self._services, strict=True):
                accept(sock, self._loop, service.welcome)
                watched.append(sock)
        except OSError:
            self._close(watched)
            for sock in opened[len(watched) :]:
                sock.close()
            raise
        self._hosts[host] = opened

    def _listener(self, host: str, port: int) -> socket.socket:
        sock = self._given.pop((host, port), None) or _bound(host, port)
        try:
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
        sock.settimeout(0)
        return sock

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


def _name(sock: socket.socket) -> tuple[str, int]:
    """The address as `_one` has it, and the port."""
    host, port, *_ = sock.getsockname()
    return host, port


def _one(host: str) -> str:
    """One address as the system writes it, never all of them. Raises OSError, ValueError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packed = socket.inet_pton(family, host)
    if not any(packed):
        raise ValueError("it stands for every address of this device")
    return socket.inet_ntop(family, packed)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if sys.platform == "linux":
            sock.setsockopt(*_FREEBIND[family], 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
