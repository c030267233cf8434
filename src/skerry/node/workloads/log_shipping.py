"""Shipping: log lines become records of lane `sample`, where a workload's spec says so (`logs.ship`).

A line's record id is the name of its file and its place in it, so that a line read twice is one record whatever is
killed; how far each log has been read is kept in the store. Who prints more than is sent falls behind; what is then
more than a few megabytes old is left out, and a record says how many lines. What is sent has been masked before it
reached the disk (`keeper.masks`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from skerry.core.log_lines import Levels, line_meta, parse_line, reaches, shipped_name
from skerry.keeper.log_file import moment
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput
from skerry.node.store.record_jobs import Submission
from skerry.node.store.records import RecordStore
from skerry.node.store.state import NodeStore
from skerry.node.workloads.log_portion import Found, Leap, Place, leap, read_on
from skerry.wire.codec import decode, encode
from skerry.wire.records import ClockQuality, Meta, Record
from skerry.wire.workload import Level, Shipped

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two looks at the logs that are shipped."""

LINES_A_SECOND = 50.0
BURST = 1000.0
BYTES_OF_A_LINE = 1000
"""A longer line counts as several."""

LOOK_AT_ONCE = 1 << 20
"""Bytes of one log that are read in one pass."""

BEHIND = 4 << 20
"""Bytes that may wait; of more, the oldest are left out until a half of this waits."""

PLACES = "shipped logs"
"""The fact of the store with the place of each log."""

_OUR_WORDS, _LINES = 1, 2
"""Added to its byte this makes a record's counter: what we say before a line comes before it."""

_MISSING = "skerry: lines are missing here: they were rotated away before they could be sent"


class Budget:
    """What one log may still send now: refilled as time passes, up to a burst."""

    def __init__(self, now: int) -> None:
        self.left = BURST
        self._at = now

    def refill(self, now: int) -> None:
        """Time has passed."""
        self.left = min(BURST, self.left + max(now - self._at, 0) / NS * LINES_A_SECOND)
        self._at = now

    def affords(self, line: bytes) -> bool:
        """Whether this line may be sent now."""
        return self.left >= _price(line)

    def pay(self, line: bytes) -> None:
        """It is sent."""
        self.left -= _price(line)


def _price(line: bytes) -> float:
    return max(1.0, len(line) / BYTES_OF_A_LINE)


class Shipment(msgspec.Struct, frozen=True):
    """The records of some lines by their file, and the place behind what they took."""

    records: dict[str, list[Record]]
    end: Place


def pack(
    workload: str, lines: Sequence[Found], end: Place, wanted: Level | None, ship: _Shipping
) -> Shipment:
    """As many of `lines` as the budget pays for, `end` being behind them all. A record's offset is its line's byte."""
    records: dict[str, list[Record]] = {}
    at = 0
    for found in lines:
        line = parse_line(found.line.decode("utf-8", "backslashreplace"))
        if line is None:
            continue
        if not ship.budget.affords(found.line):
            return Shipment(records, found.place)
        at = moment(line.at.encode()) or at
        level = ship.levels.of(line)
        if not reaches(level, wanted):
            continue
        ship.budget.pay(found.line)
        record = Record(
            found.place.offset, shipped_name(workload), at, line.text, line_meta(line, level)
        )
        records.setdefault(found.place.file, []).append(record)
    return Shipment(records, end)


class _Shipping:
    """What is remembered of one log while the agent runs."""

    def __init__(self, now: int) -> None:
        self.budget = Budget(now)
        self.levels = Levels()
        self.size = -1
        """Of the current file when everything had been read."""


class LogShipping:
    """Looks at all logs that are to be shipped. `wanted` says which, `path_of` where they are."""

    def __init__(
        self,
        wanted: Callable[[], Mapping[str, Shipped | None]],
        path_of: Callable[[str], Path],
        records: RecordStore,
        store: NodeStore,
        clock: Clock,
        quality: Callable[[], ClockQuality],
    ) -> None:
        self._wanted = wanted
        self._path_of = path_of
        self._records = records
        self._store = store
        self._clock = clock
        self._quality = quality
        self._shipping: dict[str, _Shipping] = {}
        self._places: dict[str, Place] | None = None
        self._unsent: frozenset[str] | None = None
        """Workloads of whose logs something waited after the last pass; None: there was no pass yet."""

    def is_sent(self, rotated: Path) -> bool:
        """Whether a rotated file of a log may go: it is not to be shipped, or nothing of its log waits. Any thread."""
        unsent = self._unsent
        return unsent is not None and rotated.parent.name not in unsent

    async def once(self) -> None:
        """One pass. Raises StorageFull and Transient: the next pass begins where this one ended."""
        places = self._places
        if places is None:
            places = self._places = _read_places(await self._store.fact(PLACES))
        wanted = self._wanted()
        before = dict(places)
        for workload in [name for name, level in wanted.items() if level is None]:
            places.pop(workload, None)
            self._shipping.pop(workload, None)
        try:
            for workload, level in wanted.items():
                if level is not None:
                    await self._ship(workload, None if level == "all" else level, places)
        finally:
            self._unsent = frozenset(
                workload
                for workload, level in wanted.items()
                if level is not None and not self._has_read_all(workload)
            )
            if places != before:
                await self._store.set_fact(PLACES, encode(places).decode(), durable=False)

    def _has_read_all(self, workload: str) -> bool:
        ship = self._shipping.get(workload)
        return ship is not None and ship.size >= 0

    async def _ship(self, workload: str, wanted: Level | None, places: dict[str, Place]) -> None:
        path, now = self._path_of(workload), self._clock.monotonic_ns()
        ship = self._shipping.setdefault(workload, _Shipping(now))
        size = _size(path)
        if size == ship.size:
            return
        ship.size = -1
        ship.budget.refill(now)
        place = places.get(workload)
        portion = await asyncio.to_thread(read_on, workload, path, place, LOOK_AT_ONCE)
        if portion.end is None:
            return
        if portion.lost and portion.lines:
            await self._say(workload, portion.lines[0].place, _MISSING, {})
        if place is not None and not portion.lost and portion.behind > BEHIND:
            passed = await asyncio.to_thread(leap, workload, path, place, BEHIND // 2)
            if passed is not None:
                await self._say_passed(workload, passed)
                places[workload] = passed.end
                return
        shipment = pack(workload, portion.lines, portion.end, wanted, ship)
        for file, records in shipment.records.items():
            await self._send(workload, file, records, first=_LINES)
        places[workload] = shipment.end
        if shipment.end == portion.end and not portion.behind:
            ship.size = size

    async def _say_passed(self, workload: str, passed: Leap) -> None:
        text = (
            f"skerry: {passed.lines} lines left out here: more than {LINES_A_SECOND:.0f} a second"
        )
        await self._say(workload, passed.start, text, {"left_out": passed.lines})

    async def _say(self, workload: str, place: Place, text: str, meta: Meta) -> None:
        """A line of our own before the one at `place`."""
        now = self._clock.wall_ns()
        record = Record(
            place.offset, shipped_name(workload), now, text, {"stream": "stderr", **meta}
        )
        await self._send(workload, place.file, [record], first=_OUR_WORDS)

    async def _send(self, workload: str, file: str, records: list[Record], *, first: int) -> None:
        await self._records.append(
            Submission(
                kind="measurement",
                source=workload,
                session=file,
                first=first,
                accepted_at=self._clock.wall_ns(),
                monotonic=self._clock.monotonic_ns(),
                quality=self._quality(),
                parts=[("sample", records)],
            )
        )


def _read_places(fact: str | None) -> dict[str, Place]:
    if fact is None:
        return {}
    try:
        return decode(fact.encode(), dict[str, Place], "places of shipped logs")
    except InvalidInput as error:
        log.warning("%s; logs are shipped from their last lines on", error)
        return {}


def _size(path: Path) -> int:
    """Of the current file; it changes with each line and, to nothing, with a rotation."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
