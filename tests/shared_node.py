"""The shared rows of a node on real files, for tests that play the hub themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from tests.row_program import RowProgram

from skerry.core.merging import mark
from skerry.core.row_digests import bucket_of, digest
from skerry.core.synced_words import EntityWords
from skerry.kit.clock import Clock
from skerry.kit.disk import RealDisk
from skerry.kit.sealing.cipher import Cipher, NullCipher
from skerry.kit.sqlite import SqliteWriter, read_migrations
from skerry.node.store import state as state_module
from skerry.node.store.shared_frames import MAX_FRAME, SharedFrames
from skerry.node.store.shared_pulled import SharedPulled
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.sync_log import SyncLog
from skerry.node.sync.row_schedule import RowSchedule
from skerry.wire.shared import BUCKETS, Edit, EditFrame, Judged, RowsPart, SharedRow
from skerry.wire.sync import Lane, LanePoint

MIGRATIONS = read_migrations(Path(state_module.__file__).with_name("migrations"))


class SharedNode:
    """Rows, frames and pulled versions of one store in `directory`."""

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        node_id: str = "node-1",
        cipher: Cipher | None = None,
        *,
        words: Mapping[str, EntityWords] = {},
        every: Mapping[str, float] = {},
        most: int = MAX_FRAME,
        disk: RealDisk | None = None,
    ) -> None:
        self.writer = SqliteWriter(directory / "node.db", MIGRATIONS, disk or RealDisk())
        self.writer.start()
        cipher = cipher or NullCipher()
        self.log = SyncLog(self.writer, clock)
        self._reader = self.writer.reader()
        self.rows = SharedRows(self.writer, self._reader, clock, node_id, cipher, words)
        self.schedule = RowSchedule(every, clock, self.rows.may_wait)
        self.frames = SharedFrames(self.rows, cipher, self.log, self.schedule)
        self._most = most
        self.pulled = SharedPulled(self.rows, self.log)
        self.program = RowProgram(self.rows, self.frames)

    def close(self) -> None:
        self._reader.close()
        self.writer.stop()

    async def push(self, lane: Lane = "rows-medium") -> list[Edit]:
        """Freezes what waits, or repeats what was frozen; the edits of the next frame."""
        after = await self.frames.point(lane)
        if not await self.frames.frames(lane, after.n, 1):
            await self.frames.freeze(lane, self._most)
        found = await self.frames.frames(lane, after.n, 1)
        return [
            edit
            for frame in found
            for edit in msgspec.json.decode(frame.body, type=EditFrame).edits
        ]

    async def answer(
        self, revs: Sequence[int], *judged: Judged, lane: Lane = "rows-medium"
    ) -> None:
        """The hub's answer to what `push` returned."""
        after = await self.frames.point(lane)
        (frame,) = await self.frames.frames(lane, after.n, 1)
        await self.frames.acknowledge(lane, LanePoint(frame.n, frame.chain), revs, judged)

    async def pull(self, entity: str, *rows: SharedRow, cursor: str = "c") -> None:
        """A part of the hub's changes."""
        await self.pulled.apply_part(RowsPart(entity, list(rows), cursor, more=False))

    async def hold(self, entity: str, row_id: str, body: bytes, rev: int = 7) -> None:
        """The node has this row from the hub."""
        await self.pull(entity, of_hub(row_id, rev, body))

    async def body(self, entity: str, row_id: str) -> bytes | None:
        row = await self.program.get(entity, row_id)
        return None if row is None else bytes(row.body)

    async def status(self, entity: str, row_id: str) -> str:
        row = await self.program.get(entity, row_id)
        return "" if row is None else row.status


def of_hub(
    row_id: str,
    rev: int,
    body: bytes = b"{}",
    *,
    hlc: int = 0,
    origin: str = "",
    deleted: bool = False,
) -> SharedRow:
    """A version that the hub has accepted."""
    return SharedRow(row_id, rev, hlc or rev << 16, origin, deleted, msgspec.Raw(body))


def sums_of(*rows: tuple[str, int, bytes]) -> str:
    """The digest of an entity with these rows: id, revision, body."""
    sums = [0] * BUCKETS
    for row_id, rev, body in rows:
        sums[bucket_of(row_id)] += mark(row_id, rev, body)
    return digest([each % 2**64 for each in sums])
