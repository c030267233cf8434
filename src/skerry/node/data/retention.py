"""How long records stay on the node: the decision (pure) and the pass that acts on it.

The hub may lose what it acknowledged (it is put back to a backup), so a node keeps acknowledged records until
the hub says that they are in a backup, or for seven days. A rule for a name (`core.stream_rules`) says otherwise.
What goes are whole files, the oldest first, so a file goes when all streams in it may. What the hub does not have is
never freed here; samples of which a rule says so are thinned, and the gap is a record.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skerry.core.stream_rules import NO_RULES, Rules
from skerry.kit.clock import NS, Clock
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.records import RecordStore
from skerry.node.store.segments import Segment
from skerry.wire.sync import RECORD_LANES, Lane

if TYPE_CHECKING:
    from skerry.node.data.stream_use import Stream, Use

KEEP_ACKNOWLEDGED = 7 * 86_400 * NS

_FILES_AT_ONCE = 32
"""So many files are looked into in one pass; the others wait for the next one."""


class Moment(msgspec.Struct, frozen=True):
    """Now, by both clocks; `monotonic` compares only within one boot."""

    wall: int
    monotonic: int
    boot_id: str

    def age(self, segment: Segment) -> int:
        """Nanoseconds since the segment's newest record was accepted, by the clock that can be trusted more."""
        if segment.boot_id == self.boot_id:
            return self.monotonic - segment.times.monotonic
        return self.wall - segment.times.accepted_at


def freeable_through(
    segments: Sequence[Segment], acknowledged: int, backed_up: int, now: Moment
) -> int:
    """The last record of the oldest run of whole files that may go; 0 when none may."""
    through = 0
    for segment in segments:
        if segment.last > acknowledged:
            break
        if not _is_over(segment, backed_up, now):
            break
        through = segment.last
    return through


def _is_over(segment: Segment, backed_up: int, now: Moment) -> bool:
    return segment.last <= backed_up or now.age(segment) >= KEEP_ACKNOWLEDGED


Contents = Mapping[Path, Mapping["Stream", "Use"]]
"""The streams of the files that have been looked into."""


def ruled_through(
    segments: Sequence[Segment],
    contents: Contents,
    rules: Rules,
    now: Moment,
    backed_up: int,
    *,
    strictly: bool = False,
) -> int:
    """As `freeable_through`, by rules: each stream of a file is over its time, or newer files hold all its bytes.

    `strictly`: only what rules speak of; else a stream without a rule may go as ever. A file that nobody has looked
    into stays.
    """
    newer: Counter[Stream] = Counter()
    may_go: dict[Path, bool] = {}
    for segment in reversed(segments):
        streams = contents.get(segment.path)
        if streams is None:
            continue
        usual = not strictly and _is_over(segment, backed_up, now)
        may_go[segment.path] = all(
            _may_go(stream, newer, rules, now.age(segment), usual=usual) for stream in streams
        )
        newer.update({stream: round(use.bytes) for stream, use in streams.items()})
    through = 0
    for segment in segments:
        if not may_go.get(segment.path, False):
            break
        through = segment.last
    return through


def _may_go(
    stream: Stream, newer: Mapping[Stream, int], rules: Rules, age: int, *, usual: bool
) -> bool:
    rule = rules.find(stream[0])
    if rule is None:
        return usual
    if rule.bytes is not None and newer.get(stream, 0) >= rule.bytes:
        return True
    return usual if rule.keep is None else age >= rule.keep * NS


class Gone(msgspec.Struct):
    """What a rule has removed since the start; `last_at` in ns since 1970."""

    records: int = 0
    last_at: int = 0


class Retention:
    """One pass over the lanes; `backed_up` says up to which record the hub has a lane in a backup."""

    def __init__(
        self,
        records: RecordStore,
        clock: Clock,
        backed_up: Callable[[Lane], int],
        rules: Rules = NO_RULES,
        events: OwnEvents | None = None,
    ) -> None:
        self._records = records
        self._clock = clock
        self._backed_up = backed_up
        self._rules = rules
        self._events = events
        self._contents: dict[Path, Mapping[Stream, Use]] = {}
        self.removed: dict[str, Gone] = {}
        """By rule."""

    async def once(self) -> None:
        """Frees what may go now. Raises Transient."""
        if self._rules:
            await self._look()
        now = Moment(self._clock.wall_ns(), self._clock.monotonic_ns(), self._clock.boot_id())
        for lane in RECORD_LANES:
            if self._rules:
                await self._by_rules(lane, now)
                continue
            through = freeable_through(
                self._records.segments(lane),
                self._records.acknowledged(lane),
                self._backed_up(lane),
                now,
            )
            if through:
                await self._records.free(lane, through)

    async def _by_rules(self, lane: Lane, now: Moment) -> None:
        finished = self._records.segments(lane)[:-1]
        acknowledged, backed_up = self._records.acknowledged(lane), self._backed_up(lane)
        held = [segment for segment in finished if segment.last <= acknowledged]
        usual = freeable_through(held, acknowledged, backed_up, now)
        through = ruled_through(finished, self._contents, self._rules, now, backed_up)
        through = min(through, held[-1].last if held else 0)
        if through:
            await self._records.free(lane, through)
        if lane == "sample":
            thinned = ruled_through(
                finished, self._contents, self._rules, now, backed_up, strictly=True
            )
            if thinned > through and await self._records.thin(thinned):
                through = thinned
        gone = [segment for segment in finished if usual < segment.last <= through]
        await self._tell(lane, gone)

    async def _tell(self, lane: Lane, gone: Sequence[Segment]) -> None:
        """Counts what would have stayed without the rules, and says so."""
        counts: Counter[str] = Counter()
        for segment in gone:
            for stream, use in self._contents.get(segment.path, {}).items():
                counts[str(self._rules.find(stream[0]) or "")] += round(use.records)
        for rule, records in counts.items():
            if not rule:
                continue
            total = self.removed.setdefault(rule, Gone())
            total.records, total.last_at = total.records + records, self._clock.wall_ns()
            if self._events is not None:
                await self._events.tell(
                    "skerry.retention.removed",
                    f"retention «{rule}» removed {records} records of lane «{lane}»",
                    {"rule": rule, "lane": lane, "records": records},
                )

    async def _look(self) -> None:
        """Looks into finished files that nobody has looked into, and forgets those that are gone."""
        from skerry.node.data.stream_use import in_file  # noqa: PLC0415 - only where there are rules

        files = {
            segment.path: (lane, segment)
            for lane in RECORD_LANES
            for segment in self._records.segments(lane)[:-1]
        }
        self._contents = {path: use for path, use in self._contents.items() if path in files}
        unknown = [path for path in files if path not in self._contents]
        for path in unknown[:_FILES_AT_ONCE]:
            lane, segment = files[path]
            self._contents[path] = await asyncio.to_thread(in_file, self._records, lane, segment)
