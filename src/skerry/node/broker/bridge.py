"""From the gate's journal into the node's store: each message that was captured becomes what `core.cyberwave.intake` says, once.

A message's number in the journal is its record's counter, so whatever is done again, by this agent or the next one, is
recognised by the store. The gate is told that a batch is stored when all of it is durable, and not before: what cannot be
stored now waits in the journal, where the gate bounds it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from skerry.core.cyberwave.gathering import (
    FULL,
    JOURNAL_FULL,
    SHARE_FULL,
    File,
    Gathered,
    Message,
    Numbered,
    gathered,
    session_of,
    with_missed,
)
from skerry.core.cyberwave.intake import Health, Ping, Reply, Rules
from skerry.core.cyberwave.thinning import QUIET, Key, Missed, Thinning
from skerry.gate.journal import GAP, HELD, KEPT, QOS, Entry
from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import SkerryError, StorageFull
from skerry.kit.ids import random_token
from skerry.kit.tasks import Guard
from skerry.node.broker.link import Captured
from skerry.node.broker.shares import Gate, Shares
from skerry.node.store.record_engine import KEPT as KEPT_LANES
from skerry.node.store.record_jobs import Submission
from skerry.wire.files import FileRef, StoredFile
from skerry.wire.records import (
    ClockQuality,
    Kind,
    Meta,
    Publish,
    Published,
    PublishedRecord,
    Record,
)
from skerry.wire.sync import RECORD_LANES, Lane

UNKNOWN = "cyberwave-gate"
"""The source of what came by a token that has ended meanwhile."""

_AGAIN = Backoff(first=0.05, cap=5.0)
_PIECE = 1024 * 1024
_REMEMBERED = 16
_BESIDE = 48
"""Bytes of a record besides its name and its value."""

log = logging.getLogger(__name__)


class Link(Gate, Protocol):
    """The gate, as `broker.link.GateLink` reaches it."""

    def captured(self) -> AsyncIterator[Captured]: ...

    def stored(self, captured: Captured) -> None: ...


class Records(Protocol):
    """`node.store.records`."""

    async def append(self, submission: Submission) -> Published: ...


class Contents(Protocol):
    """`node.files.on_demand`."""

    async def put(
        self, sha256: str, size: int | None, body: AsyncIterator[bytes]
    ) -> StoredFile: ...

    async def published(
        self, request: Publish, accept: Callable[[], Awaitable[Published]]
    ) -> Published: ...


class Heard(Protocol):
    """Who wants to know what is no record. Must not wait; after a restart the last ones may be told again."""

    def health(self, twin: str, payload: bytes, at: int) -> None:
        """A sign of life of a twin's driver, captured `at` (wall, ns)."""
        ...

    def reply(self, twin: str, topic: str, payload: bytes) -> None:
        """A command of a client's, or the answer to one."""
        ...

    def ping(self, twin: str, at: int) -> None:
        """A program wants to be answered; captured `at` (wall, ns)."""
        ...


class Store(msgspec.Struct, frozen=True):
    """Where it all goes. `quality` is that of the device's clock, `source_of` names a token's workload (None: it has ended)."""

    records: Records
    contents: Contents
    quality: Callable[[], ClockQuality]
    source_of: Callable[[int], str | None]
    shares: Shares


class Bridge:
    """`run` goes on for ever. `rules` says which hold now."""

    def __init__(
        self,
        store: Store,
        rules: Callable[[], Rules],
        heard: Heard,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._store = store
        self._rules = rules
        self._heard = heard
        self._clock = clock
        self._chance = chance
        self._stored: dict[str, int] = {}
        self._thinning = Thinning()
        self._missing = Bell()
        self._session = random_token()
        self._told = 0
        self._telling: list[Submission] = []
        self._in_turn = asyncio.Lock()

    def stored_of(self, session: str) -> int:
        """How far this agent has stored a run of the gate, for `GateLink`."""
        return self._stored.get(session, 0)

    async def run(self, link: Link) -> None:
        """Stores what is captured."""
        guard = Guard("storing what drivers publish", self._clock, self._chance)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_of_missed())
            group.create_task(self._follow_shares(link))
            while True:
                await guard.run(partial(self._follow, link))

    async def _follow_shares(self, link: Link) -> None:
        guard = Guard("holding who publishes too much", self._clock, self._chance)
        while True:
            await guard.run(partial(self._store.shares.follow, link))

    async def close(self) -> None:
        """Tells of what was left out. Raises StorageFull, Transient."""
        await self._tell(0.0)

    async def _follow(self, link: Link) -> None:
        async for batch in link.captured():
            await self._take(batch)
            self._stored.pop(batch.session, None)
            self._stored[batch.session] = batch.entries[-1].n
            if len(self._stored) > _REMEMBERED:
                del self._stored[next(iter(self._stored))]
            link.stored(batch)

    async def _take(self, batch: Captured) -> None:
        messages = map(_message, batch.entries)
        now = self._clock.monotonic_ns()
        found = gathered(batch.session, messages, self._rules(), self._thinning, now)
        self._tell_on(found)
        async with asyncio.TaskGroup() as group:
            for (token, kind), records in found.records.items():
                group.create_task(self._keep(batch.session, token, kind, records))
            group.create_task(self._keep_files(batch.session, found.files))
        if self._thinning.waiting:
            self._missing.ring()

    def _tell_on(self, found: Gathered) -> None:
        for told, message in found.told:
            match told:
                case Health(twin=twin):
                    self._heard.health(twin, message.payload, message.wall_ns)
                case Reply(twin=twin):
                    self._heard.reply(twin, message.topic, message.payload)
                case Ping(twin=twin):
                    self._heard.ping(twin, message.wall_ns)

    async def _keep(self, session: str, token: int, kind: Kind, records: list[Numbered]) -> None:
        """Returns when all of them that count are durable, and the others are, or are counted as left out."""
        source, shares = self._source(token), self._store.shares
        if shares.has_records_full(source):
            records = self._left(session, token, records, KEPT_LANES, SHARE_FULL)

        async def once() -> None:
            nonlocal records
            try:
                await self._store.records.append(self._submission(session, token, kind, records))
            except StorageFull:
                records = self._left(session, token, records, RECORD_LANES, FULL)
                if records:
                    raise

        if records:
            await self._until_done(once)
        for each in records:
            shares.stored(source, each.lane, size_of(each.record))

    def _left(
        self, session: str, token: int, records: list[Numbered], lanes: Sequence[Lane], why: str
    ) -> list[Numbered]:
        """Those that count, and what is for other lanes; the others are told of as left out."""
        left = []
        for each in records:
            if each.counts or each.lane not in lanes:
                left.append(each)
            else:
                key = (session, token, each.record.name)
                self._miss(key, each.record.at, 1 + each.missed, why)
        return left

    async def _keep_files(self, session: str, files: list[File]) -> None:
        for file in files:
            await self._until_done(partial(self._keep_file, session, file))

    async def _keep_file(self, session: str, file: File) -> None:
        message, content = file.message, file.content
        source, shares = self._source(message.token), self._store.shares
        missed = (session, message.token, content.name), message.wall_ns, 1 + file.missed
        if shares.has_files_full(source) and not message.counts:
            self._miss(*missed, SHARE_FULL)
            return
        digest = (await asyncio.to_thread(hashlib.sha256, message.payload)).hexdigest()
        ref = str(FileRef(digest, len(message.payload)))
        meta = with_missed(content.meta, file.missed)
        record = Record(0, content.name, content.at, ref, meta)
        numbered = Numbered(message.n, "event", record, message.counts, file.missed)
        submission = self._submission(session, message.token, "file", [numbered])
        request = Publish([PublishedRecord(content.name, ref, content.at, meta)], "file")
        try:
            await self._store.contents.put(digest, len(message.payload), _pieces(message.payload))
            await self._store.contents.published(
                request, partial(self._store.records.append, submission)
            )
        except StorageFull:
            if message.counts:
                raise
            self._miss(*missed, FULL)
            return
        shares.stored_file(source, len(message.payload))

    async def _until_done(self, once: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                await once()
            except SkerryError as error:
                failures += 1
                if failures.bit_count() == 1:
                    log.warning("cannot store what a driver published, trying on: %s", error)
                await self._clock.sleep(_AGAIN.delay(failures, self._chance))
            else:
                return

    def _submission(
        self, session: str, token: int, kind: Kind, records: list[Numbered]
    ) -> Submission:
        first = records[0].n
        lanes: dict[Lane, list[Record]] = {}
        for each in records:
            placed = msgspec.structs.replace(each.record, offset=each.n - first)
            lanes.setdefault(each.lane, []).append(placed)
        return self._submitted(
            kind, self._source(token), (session_of(session, token, kind), first), lanes
        )

    def _submitted(
        self, kind: Kind, source: str, number: tuple[str, int], lanes: dict[Lane, list[Record]]
    ) -> Submission:
        session, first = number
        return Submission(
            kind=kind,
            source=source,
            session=session,
            first=first,
            accepted_at=self._clock.wall_ns(),
            monotonic=self._clock.monotonic_ns(),
            quality=self._store.quality(),
            parts=list(lanes.items()),
        )

    def _source(self, token: int) -> str:
        return self._store.source_of(token) or UNKNOWN

    def _miss(self, key: Key, at: int, count: int, why: str) -> None:
        self._thinning.miss(key, at, why, self._clock.monotonic_ns(), count)

    async def _tell_of_missed(self) -> None:
        """Tells of what was left out of names that have become quiet."""
        seen = 0
        guard = Guard("telling of what was left out", self._clock, self._chance)
        while True:
            seen = await self._missing.after(seen)
            while self._thinning.waiting or self._telling:
                await self._clock.sleep(QUIET)
                await guard.run(partial(self._tell, QUIET))

    async def _tell(self, seconds: float) -> None:
        quiet = self._thinning.quiet(self._clock.monotonic_ns(), seconds)
        self._telling += self._gaps(quiet)
        async with self._in_turn:
            while self._telling:
                await self._store.records.append(self._telling[0])
                del self._telling[0]

    def _gaps(self, quiet: list[tuple[Key, Missed]]) -> list[Submission]:
        """One for each source."""
        of: dict[str, list[Record]] = {}
        for (_, token, name), missed in quiet:
            meta: Meta = {"from": missed.since, "to": missed.until, "cause": missed.why}
            records = of.setdefault(self._source(token), [])
            records.append(Record(len(records), name, missed.until, missed.count, meta))
        found = []
        for source, records in of.items():
            number = (self._session, self._told + 1)
            self._told += len(records)
            found.append(self._submitted("gap", source, number, {"event": records}))
        return found


def _message(entry: Entry) -> Message:
    flags = entry.flags
    return Message(
        *entry[:3],
        entry.token,
        entry.topic,
        entry.payload,
        counts=bool(flags & KEPT or flags & QOS),
        gap=(SHARE_FULL if flags & HELD else JOURNAL_FULL) if flags & GAP else "",
    )


def size_of(record: Record) -> int:
    """About what it takes on the disk."""
    return _BESIDE + len(record.name) + (len(record.value) if isinstance(record.value, str) else 0)


async def _pieces(payload: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(payload), _PIECE):
        yield payload[start : start + _PIECE]
