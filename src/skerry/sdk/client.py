"""A workload's line to its node: publish until accepted, subscribe across the node's restarts, query.

A batch is sent with the process's session and a counter, and again with the same ones after a lost
connection: the node knows by them what it has accepted already. Batches go one at a time and in order.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import random
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, TypeVar
from urllib.parse import urlencode

import msgspec

from skerry.kit.backoff import Backoff
from skerry.kit.errors import InvalidInput, NotFound, Transient
from skerry.sdk.connection import NodeConnection, raise_for
from skerry.sdk.content import Content
from skerry.sdk.settings import instance as this_instance
from skerry.wire.files import FileRef
from skerry.wire.local import Held, HoldUpdates, ReleaseUpdates
from skerry.wire.people import Rows
from skerry.wire.records import MAX_PUBLISH, Publish, PublishedKind, PublishedRecord, Row, Value

T = TypeVar("T")
Entry = PublishedRecord | tuple[str, Value]

NS = 1_000_000_000
_RETRY = Backoff(first=0.05, cap=1.5)
_ANSWER_SECONDS = 30.0
_MAX_REQUEST = 8 * 1024 * 1024
_NO_ANSWER = (OSError, http.client.HTTPException, Transient)


@dataclass(frozen=True)
class Timing:
    """Time as the client sees it; seconds are monotonic."""

    wall_ns: Callable[[], int]
    seconds: Callable[[], float]
    sleep: Callable[[float], None]


class Client:
    """Speaks for one workload; may be used from any thread, and in a forked child as another publisher."""

    def __init__(self, path: str, timing: Timing, chance: random.Random) -> None:
        self._path = path
        self._timing = timing
        self._chance = chance
        self._connection: NodeConnection | None = None
        self._begin()
        os.register_at_fork(after_in_child=partial(_begin_anew, weakref.WeakMethod(self._begin)))

    def publish(
        self,
        kind: PublishedKind,
        entries: Iterable[Entry],
        timeout: float | None,
    ) -> None:
        """Returns when all records are durable on the node. See the functions of `skerry.sdk`."""
        now = self._timing.wall_ns()
        records = [_record(entry, now) for entry in entries]
        deadline = self._deadline(timeout)
        for start in range(0, len(records), MAX_PUBLISH):
            self._publish(kind, records[start : start + MAX_PUBLISH], deadline)

    def upload(self, content: Content, record: PublishedRecord, timeout: float | None) -> FileRef:
        """Returns when bytes and record are durable on the node. `record` has no value yet. See `skerry.sdk.upload`."""
        deadline = self._deadline(timeout)
        ref = content.reference()
        at = self._timing.wall_ns() if record.at is None else record.at
        record = PublishedRecord(record.name, str(ref), at, record.meta)
        while True:
            self._put(content, ref, deadline)
            try:
                self._publish("file", [_record(record, at)], deadline)
            except NotFound:
                continue  # the node has let the bytes go meanwhile, as an answer was lost
            return ref

    def subscribe(self, name: str, kind: str | None, since: str) -> Iterator[Row]:
        """Rows for ever. After a lost connection it goes on behind the last row."""
        cursor = "" if since == "now" else since
        failures = 0
        while True:
            with contextlib.closing(NodeConnection(self._path, timeout=None)) as connection:
                try:
                    response = _open_stream(connection, name, kind, cursor)
                    cursor = response.getheader("Skerry-Cursor") or cursor
                    failures = 0
                    for row in _rows(response):
                        cursor = row.cursor or cursor
                        yield row
                except _NO_ANSWER:
                    failures += 1
            self._timing.sleep(_RETRY.delay(failures, self._chance))

    def query(
        self, name: str, kind: str | None, since: float | None, limit: int, timeout: float | None
    ) -> list[Row]:
        """Stored rows of the last `since` seconds, oldest first."""
        asked = {"name": name, "limit": str(limit)}
        if kind is not None:
            asked["kind"] = kind
        if since is not None:
            asked["since"] = str(self._timing.wall_ns() - int(since * NS))
        path = f"/v1/records?{urlencode(asked)}"

        def once(seconds: float) -> bytes:
            with contextlib.closing(NodeConnection(self._path, seconds)) as connection:
                return _call(connection, "GET", path, None)

        body = self._patiently(once, f"query «{name}»", self._deadline(timeout))
        return msgspec.json.decode(body, type=Rows).rows

    def _put(self, content: Content, ref: FileRef, deadline: float) -> None:
        path = f"/v1/files/{ref.sha256}"
        headers = {"Content-Length": str(ref.size), "Content-Type": "application/octet-stream"}

        def once(seconds: float) -> bytes:
            with (
                contextlib.closing(NodeConnection(self._path, seconds)) as connection,
                content.open() as body,
            ):
                return _send(connection, path, body, headers)

        self._patiently(once, f"upload {content.name}", deadline)

    def hold_updates(
        self, seconds: float, reason: str, instance: str, timeout: float | None
    ) -> int | None:
        """Until when (ns since 1970) updates wait at the latest. See `skerry.sdk.hold_updates`."""
        body = msgspec.json.encode(HoldUpdates(seconds, reason, instance))
        return self._order("/v1/updates/hold", body, "hold updates", timeout)

    def release_updates(self, instance: str, timeout: float | None) -> None:
        """Lets updates through again."""
        body = msgspec.json.encode(ReleaseUpdates(instance))
        self._order("/v1/updates/release", body, "release updates", timeout)

    def _order(self, path: str, body: bytes, what: str, timeout: float | None) -> int | None:
        def once(seconds: float) -> bytes:
            with contextlib.closing(NodeConnection(self._path, seconds)) as connection:
                return _call(connection, "POST", path, body)

        answer = self._patiently(once, what, self._deadline(timeout))
        return msgspec.json.decode(answer, type=Held).until

    def _begin(self) -> None:
        """A new publisher: at the start, and in a child process, which must not use its parent's connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._lock = threading.Lock()
        self._session = secrets.token_hex(16)
        self._counter = 0

    def _publish(
        self,
        kind: PublishedKind,
        records: list[PublishedRecord],
        deadline: float,
    ) -> None:
        if not self._lock.acquire(timeout=self._lock_seconds(deadline)):
            raise Transient("cannot publish: another thread's records still wait for the node")
        try:
            self._send(kind, records, deadline)
        finally:
            self._lock.release()

    def _send(
        self,
        kind: PublishedKind,
        records: list[PublishedRecord],
        deadline: float,
    ) -> None:
        try:
            first = self._counter + 1
            body = msgspec.json.encode(
                Publish(records, kind, self._session, first, this_instance())
            )
        except UnicodeError as error:
            raise InvalidInput(f"cannot publish: a text is no valid Unicode ({error})") from error
        if len(body) > _MAX_REQUEST and len(records) > 1:
            half = len(records) // 2
            self._send(kind, records[:half], deadline)
            self._send(kind, records[half:], deadline)
            return
        self._counter += len(records)
        what = f"publish {len(records)} record{'s' if len(records) > 1 else ''}"
        self._patiently(lambda seconds: self._post(body, seconds), what, deadline)

    def _post(self, body: bytes, seconds: float) -> bytes:
        if self._connection is None:
            self._connection = NodeConnection(self._path, seconds)
        elif self._connection.sock is not None:
            self._connection.sock.settimeout(seconds)
        try:
            return _call(self._connection, "POST", "/v1/publish", body)
        except _NO_ANSWER:
            self._connection.close()
            self._connection = None
            raise

    def _patiently(self, once: Callable[[float], bytes], what: str, deadline: float) -> bytes:
        """Calls `once` with the seconds it may take, until there is an answer or the deadline has passed."""
        failures = 0
        while True:
            left = deadline - self._timing.seconds()
            try:
                return once(min(_ANSWER_SECONDS, max(left, 0.001)))
            except _NO_ANSWER as error:
                failures += 1
                delay = _RETRY.delay(failures, self._chance)
                if self._timing.seconds() + delay >= deadline:
                    raise Transient(
                        f"cannot {what}: no answer from the node ({error}). "
                        "What was sent may have been accepted; give it more time."
                    ) from error
            self._timing.sleep(delay)

    def _lock_seconds(self, deadline: float) -> float:
        """For `Lock.acquire`: -1 means for ever."""
        return -1 if deadline == math.inf else max(0.0, deadline - self._timing.seconds())

    def _deadline(self, timeout: float | None) -> float:
        return math.inf if timeout is None else self._timing.seconds() + timeout


def _call(connection: NodeConnection, method: str, path: str, body: bytes | None) -> bytes:
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    raise_for(response.status, answer)
    return answer


def _send(connection: NodeConnection, path: str, body: BinaryIO, headers: dict[str, str]) -> bytes:
    # An answer that comes before the end of the body says why it does.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("PUT", path, body, headers)
    response = connection.getresponse()
    answer = response.read()
    raise_for(response.status, answer)
    return answer


def _open_stream(
    connection: NodeConnection, name: str, kind: str | None, cursor: str
) -> http.client.HTTPResponse:
    asked = {"name": name, "kind": kind or "", "cursor": cursor}
    present = {key: text for key, text in asked.items() if text}
    connection.request("GET", f"/v1/subscribe?{urlencode(present)}")
    response = connection.getresponse()
    if response.status >= 400:
        raise_for(response.status, response.read())
    return response


def _rows(response: http.client.HTTPResponse) -> Iterator[Row]:
    """Rows up to the end of the stream; a last line without its end was cut off."""
    while (line := response.readline()).endswith(b"\n"):
        if line.strip():  # an empty line only says that the stream lives
            yield msgspec.json.decode(line, type=Row)


def _begin_anew(begin: weakref.WeakMethod[Callable[[], None]]) -> None:
    """In a forked child. The system never forgets what it was told to call, so it must not hold the client."""
    method = begin()
    if method is not None:
        method()


def _record(entry: Entry, now: int) -> PublishedRecord:
    record = PublishedRecord(*entry) if isinstance(entry, tuple) else entry
    return PublishedRecord(
        record.name,
        _plain(record.name, record.value),
        now if record.at is None else record.at,
        None
        if record.meta is None
        else {key: _plain(record.name, value) for key, value in record.meta.items()},
    )


def _plain(name: str, value: Value) -> Value:
    """The value itself, or its plain form when it is of a subclass (numpy.float64 is a float)."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(
            f"cannot publish «{name}»: {value} is no value. Leave the record out, or publish a text"
        )
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    raise InvalidInput(
        f"cannot publish «{name}»: a value is an int, float, bool or text, not {type(value).__name__}"
    )
