"""The Zenoh session: a router that containers and native programs find each other by, and that hears what they publish.

Shared memory is off in it, so that it maps none of its publishers' pools; peers that it has introduced use theirs
between themselves. It answers `latest()` for a channel only where no publisher of it is left: theirs are *complete*
queryables, ours is not, and Zenoh asks the best one.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

import zenoh

from skerry.runners.zenoh.endings import say
from skerry.runners.zenoh.interfaces import Place, place_of
from skerry.runners.zenoh.last import Heard, LastBytes

EVERY = "cw/*/data/**"
LOOPBACK = "127.0.0.1"

MAX_MESSAGE = 64 * 1024 * 1024
"""Zenoh's own limit is 1 GiB, which one program could have the router hold in memory."""

_TRY_AGAIN = "retry_period_init_ms=100;retry_period_max_ms=1000;exit_on_failure=false"
"""Somebody else's address is to keep none of the others waiting."""


def settings(port: int, places: Mapping[str, Place]) -> dict[str, str]:
    """The session's configuration, in JSON5: it looks for nobody.

    It listens at the loopback and at these addresses, at each for its own interface alone.
    """
    here = f"tcp/{LOOPBACK}:{port}"
    more = [
        f"tcp/{_host(host)}:{port}#{_TRY_AGAIN};iface={name}" for host, (name, _) in places.items()
    ]
    endpoints = [here, *more]
    return {
        "mode": "'router'",
        "listen/endpoints": repr(endpoints),
        "listen/timeout_ms": "-1",  # without end: else nothing is tried again
        "listen/exit_on_failure": "true",
        "connect/endpoints": "[]",
        "scouting/multicast/enabled": "false",
        "timestamping/enabled": "true",
        "adminspace/enabled": "false",
        "transport/shared_memory/enabled": "false",
        "transport/link/rx/max_message_size": str(MAX_MESSAGE),
    }


class Router:
    """Open from the start; `heard` is called with key and bytes of each sample, in a thread of Zenoh's.

    It listens at those of `hosts` that the device has; `has_moved` says whether it has others by now.
    """

    def __init__(self, port: int, hosts: Sequence[str], last: LastBytes, heard: Heard) -> None:
        """Raises OSError when it cannot listen at the loopback."""
        config = zenoh.Config()
        self._hosts = [host for host in hosts if host != LOOPBACK]
        self._places = self._found()
        for name, value in settings(port, self._places).items():
            config.insert_json5(name, value)
        try:
            _check_free(port)
            self._session = zenoh.open(config)
        except (zenoh.ZError, OSError) as error:
            raise OSError(f"cannot listen at {LOOPBACK}:{port}: {error}") from error
        self._last = last
        self._heard = heard
        self._queryable = self._session.declare_queryable(EVERY, self._answer, complete=False)
        self._subscriber = self._session.declare_subscriber(EVERY, self._sample)

    def has_moved(self) -> bool:
        """Whether an address has come, or is on an interface that was made anew: who listens there hears nobody."""
        return any(self._places.get(host) != place for host, place in self._found().items())

    def _found(self) -> dict[str, Place]:
        places = {host: place_of(host) for host in self._hosts}
        return {host: place for host, place in places.items() if place is not None}

    def close(self) -> None:
        """Says goodbye to all peers."""
        self._session.close()  # type: ignore[no-untyped-call]

    def _sample(self, sample: zenoh.Sample) -> None:
        key, payload = str(sample.key_expr), sample.payload.to_bytes()
        self._last.put(key, payload)
        self._heard(key, payload)

    def _answer(self, query: zenoh.Query) -> None:
        asked = str(query.key_expr)
        exact = self._last.get(asked)
        found = [(asked, exact)] if exact is not None else self._fitting(query.key_expr)
        try:
            for key, payload in found:
                query.reply(key, payload)
        except zenoh.ZError as error:
            say(f"cannot answer a query of {asked[:200]}: {error}")
        finally:
            query.drop()  # type: ignore[no-untyped-call]

    def _fitting(self, asked: zenoh.KeyExpr) -> list[tuple[str, bytes]]:
        if "*" not in str(asked):
            return []
        return [(key, payload) for key, payload in self._last.all() if asked.intersects(key)]


def _check_free(port: int) -> None:
    """Raises OSError: Zenoh would wait for a port that somebody else has."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
