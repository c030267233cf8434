"""What a module may ask of its node: functions of the module «skerry». ABI: docs/reference/wasm.md.

«publish» returns 0, WRONG or FULL, «log» 0, and «next» the length of a record, 0 when none came in time, or NO_INPUT.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from skerry import sdk
from skerry.runners.wasm.endings import say
from skerry.wire.records import Meta, Value

WRONG, FULL, NO_INPUT = -1, -2, -3

_LONGEST = 1 << 20
"""Bytes of one record or line, far more than any valid one has: a module must not fill its runner's memory."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record as a module writes it. `at` is in nanoseconds since 1970; without it, now."""

    name: str
    value: Value
    kind: Literal["measurement", "event"] = "measurement"
    at: int | None = None
    meta: Meta | None = None


class Memory(Protocol):
    """A module's memory during a call."""

    def read(self, start: int, length: int) -> bytes: ...

    def write(self, start: int, data: bytes) -> None: ...


class Inbox(Protocol):
    """Where records wait for the module. `first` waits so many seconds, for ever without a number."""

    def first(self, seconds: float | None) -> bytes | None: ...

    def taken(self) -> None: ...


class NodeCalls:
    """`alive` is called before each call returns to the module, `renew` when it has got a record."""

    def __init__(
        self, inbox: Inbox | None, alive: Callable[[], None], renew: Callable[[], None]
    ) -> None:
        self._inbox = inbox
        self._alive = alive
        self._renew = renew

    def publish(self, memory: Memory, address: int, length: int) -> int:
        """Returns when the record is durable on the device."""
        answer = published(memory.read(address, _bounded(length)))
        self._alive()
        return answer

    def log(self, memory: Memory, address: int, length: int) -> int:
        """A line of the module's own on its standard output."""
        text = memory.read(address, _bounded(length)).decode(errors="replace")
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        self._alive()
        return 0

    def next(self, memory: Memory, address: int, capacity: int, milliseconds: int) -> int:
        """A record that is longer than `capacity` stays, and only its length is told."""
        if self._inbox is None:
            return NO_INPUT
        record = self._inbox.first(None if milliseconds < 0 else milliseconds / 1000)
        self._alive()
        if record is None:
            return 0
        if len(record) <= capacity & 0xFFFFFFFF:
            memory.write(address, record)
            self._inbox.taken()
            self._renew()
        return len(record)


def _bounded(length: int) -> int:
    return min(length & 0xFFFFFFFF, _LONGEST)


def published(line: bytes) -> int:
    """Publishes one record, however long the node is away. What is wrong with it is said in the log."""
    try:
        record = msgspec.json.decode(line, type=Line)
        if record.kind == "event":
            sdk.event(record.name, str(record.value), meta=record.meta, at=record.at)
        else:
            sdk.publish(record.name, record.value, meta=record.meta, at=record.at)
    except sdk.StorageFull as error:
        say(str(error))
        return FULL
    except (msgspec.DecodeError, UnicodeError, sdk.SkerryError) as error:
        say(f"cannot publish «{line[:200].decode(errors='replace')}»: {error}")
        return WRONG
    return 0


class RecordLines:
    """Standard output whose lines are records. An unfinished last line is published by `end`."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> None:
        """More of the output."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > _LONGEST:
            self.end()

    def end(self) -> None:
        """The module has ended."""
        self._line(self._rest)
        self._rest = b""

    def _line(self, line: bytes) -> None:
        if line.strip():
            published(line)
