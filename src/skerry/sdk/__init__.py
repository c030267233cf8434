"""What workload authors import: publish values and events, upload files, follow and query them on this device.

    from skerry import sdk

    sdk.publish("env.temperature", 21.5, meta={"sensor": "bme680"})
    for row in sdk.subscribe("env.*"):
        print(row.name, row.value)

`sdk.model` and `sdk.repository` keep rows of one's own, on the device or shared with hub and nodes (docs/reference/entities.md).

Everything goes to the node over the workload's own socket and works without a hub. Errors:
InvalidInput (the words are wrong), StorageFull (the node may not drop what it has accepted),
Transient (no answer within `timeout`), Refused (for example, this process is no workload).
"""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skerry.kit.errors import (
    InvalidInput,
    NotFound,
    Refused,
    SkerryError,
    StorageFull,
    Transient,
)
from skerry.kit.units import parse_duration
from skerry.sdk.client import Client, Entry, Timing
from skerry.sdk.content import Content, Source, fitting
from skerry.sdk.settings import instance, socket_path
from skerry.wire.records import Meta, PublishedRecord, Row, Value

if TYPE_CHECKING:
    from skerry.sdk.models import Conflict, Info, Repository, model, repository

_MODELS = {"Conflict", "Info", "Repository", "model", "repository"}

__all__ = [
    "Conflict", "Info", "InvalidInput", "Measurement", "Meta", "NotFound", "Refused", "Repository", "Row", "SkerryError",
    "StorageFull", "Transient", "UploadedFile",
    "busy", "event", "hold_updates", "model", "parse_duration", "publish", "publish_many", "query", "release_updates",
    "repository", "subscribe", "upload",
]  # fmt: skip

Measurement = PublishedRecord
"""One entry of `publish_many`: name, value, at (ns since 1970), meta."""


@dataclass(frozen=True)
class UploadedFile:
    """What `upload` has given to the node. `sha256` is 64 hex digits, `size` is in bytes."""

    name: str
    sha256: str
    size: int


def publish(
    name: str,
    value: Value,
    *,
    meta: Meta | None = None,
    at: int | None = None,
    timeout: float | None = None,
) -> None:
    """Publishes one value; returns when it is durable on this device. `at` is ns since 1970, else now.

    While the node is away it tries again, for ever or for `timeout` seconds (then Transient is raised).
    """
    _client().publish("measurement", [PublishedRecord(name, value, at, meta)], timeout)


def publish_many(entries: Iterable[Entry], *, timeout: float | None = None) -> None:
    """Publishes `Measurement`s or (name, value) pairs as one group: one wait for the disk, however many."""
    _client().publish("measurement", entries, timeout)


def event(
    name: str,
    text: str,
    *,
    meta: Meta | None = None,
    at: int | None = None,
    timeout: float | None = None,
) -> None:
    """Publishes something that happened. Events are always kept."""
    _client().publish("event", [PublishedRecord(name, text, at, meta)], timeout)


def upload(
    source: Source,
    *,
    name: str | None = None,
    meta: Meta | None = None,
    at: int | None = None,
    timeout: float | None = None,
) -> UploadedFile:
    """Gives a file (its path, its bytes, or a function that opens it) to the node; returns when it is durable there. The node sends it to the hub.

    `name` is what it is called at the hub; without it, the file's own name. Where that does not fit, it is changed and
    `meta["filename"]` has the original. `at` (ns since 1970) is the file's time, else now. The node keeps a copy, so
    the file may be changed or removed afterwards. Raises InvalidInput (it cannot be read, or changes meanwhile),
    StorageFull (`files.limit`), Transient (after `timeout` seconds).
    """
    content = Content(source)
    original = name or content.file_name
    if original is None:
        raise InvalidInput("cannot upload bytes without a name: give one by name=")
    called = name or fitting(original)
    if called != original:
        meta = {"filename": original, **(meta or {})}
    ref = _client().upload(content, PublishedRecord(called, "", at, meta), timeout)
    return UploadedFile(called, ref.sha256, ref.size)


def subscribe(name: str = "*", *, kind: str | None = None, since: str = "now") -> Iterator[Row]:
    """Follows records of this node whose name fits the pattern («*» is any run of characters), for ever.

    `since` is «now» or a row's `cursor`. The iterator survives restarts of the node by itself.
    """
    return _client().subscribe(name, kind, since)


def query(
    name: str = "*",
    *,
    since: float | None = None,
    kind: str | None = None,
    limit: int = 1000,
    timeout: float | None = None,
) -> list[Row]:
    """Records on this node of the last `since` seconds (None: all), the newest `limit`, oldest first."""
    return _client().query(name, kind, since, limit, timeout)


def hold_updates(seconds: float, reason: str = "", *, timeout: float | None = None) -> int | None:
    """Says «not now» to changes, restarts and the removal of this workload; returns until when (ns since 1970).

    The node keeps that promise for `seconds`, and never longer than the spec's `update.lock_at_most` after the
    first call without a release between. Raises Refused when it is too late, or when the spec allows no lock.
    """
    return _client().hold_updates(seconds, reason, instance(), timeout)


def release_updates(*, timeout: float | None = None) -> None:
    """Lets updates through again; one that waits begins at once."""
    _client().release_updates(instance(), timeout)


@contextlib.contextmanager
def busy(reason: str = "", *, at_most: float) -> Iterator[None]:
    """Holds updates up while the block runs, for `at_most` seconds: `with sdk.busy("landing", at_most=300): …`."""
    hold_updates(at_most, reason)
    try:
        yield
    finally:
        release_updates()


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class or a function
    """Models are loaded when one is named: most workloads have none."""
    if name not in _MODELS:
        raise AttributeError(f"module «skerry.sdk» has no «{name}»")
    from skerry.sdk import models  # noqa: PLC0415

    return getattr(models, name)


@functools.cache
def _client() -> Client:
    timing = Timing(time.time_ns, time.monotonic, time.sleep)  # noqa: TID251 - kit.clock needs asyncio
    return Client(socket_path(), timing, random.Random())  # noqa: S311 - jitter is no secret
