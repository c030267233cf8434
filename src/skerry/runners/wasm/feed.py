"""Brings records of this node to a worker: one at a time to `skerry.next`, or as lines to its standard input."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator

import msgspec

from skerry import sdk

_WAITING = 64
"""Records in memory; the others wait on the node's disk."""


def records(pattern: str, workload: str) -> Iterator[sdk.Row]:
    """Records from now on, for ever; not the workload's own, which would feed it with its answers."""
    for row in sdk.subscribe(pattern):
        if row.source != workload:
            yield row


def line(row: sdk.Row) -> bytes:
    """A record as modules read it."""
    return msgspec.json.encode(row)


class Inbox:
    """Implements `calls.Inbox`. `fill` is the body of a thread."""

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._first: bytes | None = None

    def fill(self, rows: Iterator[sdk.Row]) -> None:
        """For ever."""
        for row in rows:
            self._queue.put(line(row))

    def first(self, seconds: float | None) -> bytes | None:
        if self._first is None:
            try:
                self._first = self._queue.get(timeout=seconds)
            except queue.Empty:
                return None
        return self._first

    def taken(self) -> None:
        self._first = None


def pump(rows: Iterator[sdk.Row], pipe: int, alive: Callable[[], None]) -> None:
    """Writes lines for ever. A line that is taken is a sign of life; until then the pipe holds it back."""
    for row in rows:
        rest = line(row) + b"\n"
        while rest:
            rest = rest[os.write(pipe, rest) :]
        alive()
