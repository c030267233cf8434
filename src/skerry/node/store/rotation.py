"""Rotation of data keys while the node works: new keys at once, then everything else follows in small steps.

One pass seals rows, segment files, blobs and the node's secret again and looks until it finds nothing more; only then, and
only when all of that is on the disk, are retired keys destroyed. Killed anywhere, the next pass finds what is left.
Switching encryption on is the same pass, with «plain» in the part of the retired key.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import SqliteWriter
from skerry.node.store.bodies import count_stale, reseal_some
from skerry.node.store.records import RecordStore
from skerry.wire.local import KeyStatus, KeyView
from skerry.wire.sync import RECORD_LANES

if TYPE_CHECKING:
    from skerry.kit.sealing.key_ring import KeyRing

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Rows in one transaction."""

_BREATH = 0.01
"""Seconds that are left to others after each step."""


class Beside(msgspec.Struct, frozen=True):
    """What is sealed beside rows and records. Each seals again what is not sealed as it would be now."""

    secret: Callable[[Cipher], bool]
    """The node's own; says whether it did."""
    blobs: Callable[[], Awaitable[int]]
    """What workloads have uploaded; says with how many."""


class Rotation:
    """Keeps a ring's promises."""

    def __init__(
        self,
        ring: KeyRing,
        writer: SqliteWriter,
        records: RecordStore,
        beside: Beside,
        disk: Disk,
        clock: Clock,
    ) -> None:
        self._ring = ring
        self._writer = writer
        self._records = records
        self._beside = beside
        self._disk = disk
        self._clock = clock
        self._forced = False
        self.bell = Bell()

    def status(self) -> KeyStatus:
        """The ring for people."""
        ring = self._ring
        views = [
            KeyView(
                f"{key.id:08x}", key.of, key.algorithm, key.made_at, ring.messages(key), key.retired
            )
            for key in ring.keys.keys
        ]
        return KeyStatus(
            enabled=True,
            source=ring.source_words,
            beside=ring.key_is_beside,
            keys=views,
            plain=ring.keys.plain,
            passphrase_waits=ring.passphrase_waits,
        )

    async def change_passphrase(self, passphrase: bytes) -> KeyStatus:
        """As `KeyRing.change_passphrase`; `passphrase_waits` says that somebody else has to put it in its place."""
        await asyncio.to_thread(self._ring.change_passphrase, passphrase)
        return self.status()

    def ask(self) -> None:
        """New keys for everything, with the next pass."""
        self._forced = True
        self.bell.ring()

    async def once(self) -> None:
        """Does what is due. Raises Corrupt for rows that do not open, Transient and OSError; then do it again."""
        ring = self._ring
        await asyncio.to_thread(ring.top_up)
        classes = (
            [key.of for key in ring.keys.keys if not key.retired] if self._forced else ring.due()
        )
        if classes:
            await asyncio.to_thread(ring.rotate, classes)
            self._forced = False
            log.info("new keys for %s; what is sealed with older ones follows", ", ".join(classes))
        retired, plain = ring.keys.retired, ring.keys.plain
        if retired or plain:
            await self._seal_everything()
            self._disk.point("keys.all-sealed")
            if plain:
                await self._writer.compact()
                await asyncio.to_thread(ring.refuse_plain)
            if retired:
                await asyncio.to_thread(ring.destroy, retired)
                log.info("%d retired keys are destroyed", len(retired))

    async def _seal_everything(self) -> None:
        await self._records.renew_files()
        done: set[Path] = set()
        while await self._rows() + await self._files(done) + await self._beside.blobs():
            await self._clock.sleep(_BREATH)
        await self._records.keep_rewritten()
        if await asyncio.to_thread(self._beside.secret, self._ring.cipher("store")):
            log.info("the node's secret is sealed again")
        # Durable, and so is every transaction before it: the log of SQLite is one file.
        left = await self._writer.run(self._count, label="keys.rows-sealed")
        if left:
            raise Corrupt(f"cannot seal {left} rows again")

    def _count(self, db: sqlite3.Connection) -> int:
        return count_stale(db, self._ring.cipher("store"))

    async def _rows(self) -> int:
        """Returns how many there were."""
        cipher, done = self._ring.cipher("store"), 0

        def work(db: sqlite3.Connection) -> int:
            return reseal_some(db, cipher, AT_ONCE)

        while sealed := await self._writer.run(work, label="keys.rows", durable=False):
            done += sealed
            await self._clock.sleep(_BREATH)
        return done

    async def _files(self, done: set[Path]) -> int:
        """Returns how many there were; `done` are those that need no other look: what follows is under new keys."""
        found = 0
        for lane in RECORD_LANES:
            for segment in self._records.segments(lane)[:-1]:
                if segment.path in done:
                    continue
                if await self._records.rewrite(lane, segment):
                    found += 1
                else:
                    done.add(segment.path)
                await self._clock.sleep(_BREATH)
        return found
