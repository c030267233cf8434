"""The two ways to rows of models: a node's socket for workloads, and the hub's API for people. Both have the same routes."""

from __future__ import annotations

import contextlib
import http.client
import math
import random
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote, urlsplit

from skerry.kit.backoff import Backoff
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.sdk.connection import NodeConnection, raise_for

_RETRY = Backoff(first=0.05, cap=1.5)
_ANSWER_SECONDS = 30.0
_NO_ANSWER = (OSError, http.client.HTTPException, Transient)


class Door(Protocol):
    """Asks about one entity; `body` gets whether it is sent again, after an answer that never came.

    Raises what the answer says, and Transient when there is none in time.
    """

    def ask(
        self, method: str, entity: str, what: str, body: Callable[[bool], bytes | None]
    ) -> bytes: ...


class NodeDoor:
    """A workload's socket. `timeout` is in seconds for each call, None: for ever."""

    def __init__(self, path: str, timeout: float | None) -> None:
        self._path = path
        self._timeout = timeout

    def ask(
        self, method: str, entity: str, what: str, body: Callable[[bool], bytes | None]
    ) -> bytes:
        path = f"/v1/entities/{quote(entity, safe='')}{what}"

        def once(seconds: float, again: bool) -> bytes:  # noqa: FBT001 - as `body` has it
            with contextlib.closing(NodeConnection(self._path, seconds)) as connection:
                return _answer(connection, method, path, body(again), {})

        return _patiently(once, self._timeout, "the node")


class HubDoor:
    """The hub's API for people."""

    def __init__(self, address: str, token: str, timeout: float | None) -> None:
        found = urlsplit(address)
        if found.scheme not in {"http", "https"} or not found.hostname:
            raise InvalidInput(f"cannot reach the hub at «{address}»: write http(s)://host:port")
        self._secure = found.scheme == "https"
        self._place, self._port = found.hostname, found.port
        self._prefix = found.path.rstrip("/")
        word = token.strip()
        if not word.isascii() or not word.isprintable() or len(word.split()) != 1:
            raise InvalidInput(
                "cannot use the hub: token= is no token. It is one word, as in the hub's file admin.token"
            )
        self._headers = {"Authorization": f"Bearer {word}"}
        self._timeout = timeout

    def ask(
        self, method: str, entity: str, what: str, body: Callable[[bool], bytes | None]
    ) -> bytes:
        path = f"{self._prefix}/api/v1/entities/{quote(entity, safe='')}{what}"

        def once(seconds: float, again: bool) -> bytes:  # noqa: FBT001 - as `body` has it
            with contextlib.closing(self._connection(seconds)) as connection:
                return _answer(connection, method, path, body(again), self._headers)

        return _patiently(once, self._timeout, "the hub")

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._place, self._port, timeout=seconds)


def _answer(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
) -> bytes:
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    answer = response.read()
    if response.status in {401, 403}:
        raise Refused("cannot use the hub: it does not know this token, or it may not do this")
    raise_for(response.status, answer)
    return answer


def _patiently(once: Callable[[float, bool], bytes], timeout: float | None, whom: str) -> bytes:
    """Calls `once` with the seconds it may take, until there is an answer or the time is over."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    chance = random.Random()  # noqa: S311 - jitter is no secret
    failures = 0
    while True:
        left = deadline - time.monotonic()
        try:
            return once(min(_ANSWER_SECONDS, max(left, 0.001)), failures > 0)
        except _NO_ANSWER as error:
            failures += 1
            delay = _RETRY.delay(failures, chance)
            if time.monotonic() + delay >= deadline:
                raise Transient(
                    f"cannot reach {whom}: no answer ({error}). "
                    "What was sent may have been accepted; give it more time."
                ) from error
        time.sleep(delay)
