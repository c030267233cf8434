"""The files of one node: bytes by their content, durable and whole before anybody hears that they are here.

    files/ab/cdef…            the bytes of a content, by its SHA-256, as `kit.blob_bytes` or `kit.sealing.blobs` lays them
    files/ab/cdef….N.new      what is coming; gone after a restart
    files/ab/cdef….damaged    what was not what it should be, for a person to look at

A row (`store.files`) is written after the bytes and goes before them, so what has a row is here. Only the hub's word
makes a content one that may go. Neighbours: `sending` takes it to the hub, `api.workload` brings it, `renewing` has it
sealed with new keys.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.blob_bytes import PIECE, BlobBytes, BlobWriter
from skerry.kit.clock import NS, Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, InvalidInput, NotFound, StorageFull, Transient
from skerry.kit.units import format_size
from skerry.node.ports import Room
from skerry.node.store.files import FILES_DIRECTORY, FileRow, FileRows, Moment
from skerry.wire.files import MAX_FILE, FileRef, FilesWaiting, StoredFile
from skerry.wire.records import Meta, Value

log = logging.getLogger(__name__)

T = TypeVar("T")

KEEP_SENT = 7 * 86_400 * NS
"""As long the hub may need a file again, because it was put back to a backup (as `data.retention`)."""

UNNAMED_FOR = 86_400 * NS
"""A content without a record is kept for so long: the record may still be on its way."""

_SPARE = 32 * 1024 * 1024
"""On the disk itself: what records and the node's own writing need."""

_NEW = ".new"
_DAMAGED = ".damaged"
_SHA_REST = 62
_BREATH = 0.01
"""Seconds that are left to others after each piece that is sealed anew."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_GONE = frozenset({errno.ENOENT, errno.EIO})


def content_at(path: Path) -> str:
    """The SHA-256 of the content whose bytes are, or are coming, at this path."""
    return path.parent.name + path.name[:_SHA_REST]


class Lane(msgspec.Struct, frozen=True):
    """The lane of the files' records: its last number, how far the hub has it, and has it in a backup."""

    head: Callable[[], int]
    acknowledged: Callable[[], int]
    backed_up: Callable[[], int]


class FileStore:
    """`limit` is for all contents together, in bytes. `changed` rings when there is something to send.

    `tell` writes an event of the node's own.
    """

    def __init__(  # noqa: PLR0913 - bytes, rows, and all that bounds them
        self,
        data_dir: Path,
        limit: int,
        rows: FileRows,
        blobs: BlobBytes,
        disk: Disk,
        clock: Clock,
        *,
        lane: Lane,
        room: Room,
        tell: Callable[[str, Value, Meta], Awaitable[None]],
    ) -> None:
        self.changed = Bell()
        self.rows = rows
        self.limit = limit
        self._root = data_dir / FILES_DIRECTORY
        self._blobs = blobs
        self._disk = disk
        self._clock = clock
        self.lane = lane
        self._room = room
        self._tell = tell
        self._changing = asyncio.Lock()
        self._opened = False
        self._numbers = itertools.count(1)
        self._coming: dict[int, int] = {}
        self._pinned: Counter[str] = Counter()
        self._dropping: frozenset[str] = frozenset()

    async def open(self, named: Callable[[Collection[str]], set[str]]) -> None:
        """Puts right what a crash has left. `named` says which of some contents records name; it may read all of them."""
        async with self._changing:
            if self._opened:
                return
            if self.rows.lost_some:
                await self.rows.take_in(await self._in_thread(self._present))
            await self._in_thread(self._tidy)
            unnamed = {row.sha256 for row in self.rows.unnamed(self._clock.wall_ns())}
            if unnamed and (found := await asyncio.to_thread(named, unnamed)):
                await self.rows.name(found, self.lane.head())
            self._opened = True

    async def put(self, said: int | None, sha256: str, body: AsyncIterator[bytes]) -> StoredFile:
        """Takes a content, of which the sender has said the size (None: it has not). Returns once it is durable.

        Raises InvalidInput when it is not what its name says, StorageFull, Transient. Nothing is left of it then.
        """
        number = next(self._numbers)
        path, new = self._path(sha256), self._new_path(sha256, number)
        try:
            await self._reserve(number, said or 0)
            await self._in_thread(self._make_directory, path.parent)
            size = await self._write(number, new, sha256, body)
            if said is not None and size != said:
                raise Transient(f"cannot take the file: {size} of {said} bytes came")
            async with self._changing:
                if not await self._in_thread(self._blobs.is_current, new):
                    raise Transient("cannot take the file: keys were changed while it came")
                fresh = self.rows.row(sha256) is None
                await self._in_thread(self._disk.rename, "file.keep", new, path)
                await self.rows.put(sha256, size, self._clock.wall_ns())
            if fresh:
                self._room.added(size)
            self._disk.point("file.kept")
        finally:
            self._coming.pop(number, None)
            self._disk.unlink("file.leftover", new)
        return StoredFile(sha256, size)

    async def named(self, refs: Collection[FileRef], accept: Callable[[], Awaitable[T]]) -> T:
        """Has a record accepted that names these contents. Raises NotFound when one of them is not here."""
        names = {ref.sha256 for ref in refs}
        self._pinned.update(names)
        try:
            if names & self._dropping:
                await self.all_settled()
            for ref in refs:
                row = self.rows.row(ref.sha256)
                if row is None or row.size != ref.size or row.problem:
                    raise NotFound(
                        f"cannot publish file {ref}: its bytes are not on this node. "
                        f"Send them first: PUT /v1/files/{ref.sha256}"
                    )
            accepted = await accept()
            await self.rows.name(names, self.lane.head())
        finally:
            self._pinned -= Counter(names)
        self.changed.ring()
        return accepted

    def read(self, row: FileRow, start: int, size: int) -> bytes:
        """Bytes of a content. Raises Corrupt when they are gone, changed or unreadable, Transient."""
        return self._found(row, self._blobs.read, start, size)

    async def all_settled(self) -> None:
        """Returns when what was being taken or let go has its row, or has none. Under former keys no more is taken then."""
        async with self._changing:
            pass

    async def renew(self, row: FileRow) -> bool:
        """Writes a content as it would be written now. False: it lies there so, is gone, or has been set aside.

        Raises StorageFull, Transient.
        """
        path, new = self._path(row.sha256), self._new_path(row.sha256, next(self._numbers))
        try:
            if await asyncio.to_thread(self._found, row, self._blobs.is_current):
                return False
            await self._make_room(row.size)
            await self._copy(row, new)
            async with self._changing:
                if self.rows.row(row.sha256) is not None:
                    await self._in_thread(self._disk.rename, "file.renew", new, path)
        except Corrupt as error:
            await self.set_aside(row, error)
            return False
        finally:
            new.unlink(missing_ok=True)
        return True

    async def set_aside(self, row: FileRow, error: Corrupt) -> None:
        """What was whole is not any more: it is kept for a person, reported, and taken anew when it is given again."""
        async with self._changing:
            held = self.rows.row(row.sha256)
            if held is None or held.problem:
                return
            path = self._path(row.sha256)
            if path.exists():
                aside = path.with_name(path.name + _DAMAGED)
                await self._in_thread(self._disk.rename, "file.set-aside", path, aside)
            await self.rows.fail(row.sha256, str(error))
        log.error("%s", error)
        await self._tell(
            "skerry.file.damaged", str(error), {"sha256": row.sha256, "size": row.size}
        )

    def evictable(self, *, safely: bool) -> int:
        """Bytes that the hub has; `safely`: also in a backup, or long enough."""
        if not safely:
            totals = self.rows.totals()
            return totals.used - totals.unsent
        return self.rows.backed_up_or_old_size(self.lane.backed_up(), self.young_from())

    async def evict(self, size: int, *, safely: bool) -> int:
        """Lets about so many bytes go of what `evictable` counts, the oldest first; returns how many it were."""
        async with self._changing:
            chosen, freed = [], 0
            for row in self._may_go(safely=safely):
                if freed >= size:
                    break
                chosen.append(row)
                freed += row.size
            await self._drop(chosen)
        return freed

    async def drop_unnamed(self) -> None:
        """Lets go of contents that no record has named for a day."""
        async with self._changing:
            old = self.rows.unnamed(self._clock.wall_ns() - UNNAMED_FOR)
            await self._drop([row for row in old if not self._pinned[row.sha256]])

    def young_from(self) -> int:
        """The `sent_no` from which on the hub may need them again: what it has had for longer it may have let go itself."""
        return self.rows.first_young(KEEP_SENT, Moment.now(self._clock))

    async def lost(self) -> None:
        """The hub was put back, and nobody can ask it what it has: all that it may need again waits."""
        await self.rows.all_lost(self.young_from())
        self.changed.ring()

    def waiting(self, problem: str) -> FilesWaiting:
        """For people: what the hub does not have yet, and why."""
        found = self.rows.totals()
        return FilesWaiting(
            found.waiting, found.unsent, found.used, self.limit, problem or found.problem
        )

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256[2:]

    def _new_path(self, sha256: str, number: int) -> Path:
        path = self._path(sha256)
        return path.with_name(f"{path.name}.{number}{_NEW}")

    def _may_go(self, *, safely: bool) -> Iterator[FileRow]:
        found = self.rows.sent_ones()
        if safely:
            backed_up = self.lane.backed_up()
            old = (row for row in self.rows.sent_ones(self.young_from()) if row.n > backed_up)
            found = itertools.chain(self.rows.backed_up(backed_up), old)
        return (row for row in found if not self._pinned[row.sha256])

    async def _drop(self, rows: Collection[FileRow]) -> None:
        """Nothing may have been awaited since they were chosen: until then a record may come that names one."""
        if not rows:
            return
        self._dropping = frozenset(row.sha256 for row in rows)
        try:
            await self.rows.drop(self._dropping)
            await self._in_thread(self._unlink, [self._path(row.sha256) for row in rows])
        finally:
            self._dropping = frozenset()

    async def _write(self, number: int, new: Path, sha256: str, body: AsyncIterator[bytes]) -> int:
        writer = await self._in_thread(self._blobs.create, new)
        try:
            digest, size, waiting = hashlib.sha256(), 0, bytearray()
            async for data in body:
                waiting += data
                while len(waiting) >= PIECE:
                    piece, waiting = bytes(waiting[:PIECE]), waiting[PIECE:]
                    size += PIECE
                    await self._reserve(number, size)
                    await self._in_thread(_take, writer, digest, piece)
            size += len(waiting)
            await self._reserve(number, size)
            await self._in_thread(_take, writer, digest, bytes(waiting))
            if (found := digest.hexdigest()) != sha256:
                raise InvalidInput(
                    f"cannot take file {sha256[:12]}…: what came is {found[:12]}…. Was it changed meanwhile?"
                )
            await self._in_thread(writer.finish)
        finally:
            writer.close()
        return size

    async def _copy(self, row: FileRow, new: Path) -> None:
        writer = await self._in_thread(self._blobs.create, new)
        try:
            digest = hashlib.sha256()
            for start in range(0, row.size, PIECE):
                size = min(PIECE, row.size - start)
                piece = await asyncio.to_thread(self.read, row, start, size)
                await self._in_thread(_take, writer, digest, piece)
                await self._clock.sleep(_BREATH)
            if (found := digest.hexdigest()) != row.sha256:
                raise Corrupt(
                    f"cannot seal file {row.sha256[:12]}…: on the disk it is {found[:12]}… by now"
                )
            await self._in_thread(writer.finish)
        finally:
            writer.close()

    def _found(self, row: FileRow, look: Callable[..., T], *given: object) -> T:
        try:
            return look(self._path(row.sha256), *given)
        except OSError as error:
            kind = Corrupt if error.errno in _GONE else Transient
            raise kind(f"cannot read file {row.sha256[:12]}…: {error.strerror}") from error

    async def _reserve(self, number: int, size: int) -> None:
        """Makes sure that a file that is coming may have so many bytes. Raises InvalidInput, StorageFull."""
        if size > MAX_FILE:
            raise InvalidInput(f"cannot take a file of more than {format_size(MAX_FILE)}")
        more = size - self._coming.get(number, 0)
        if more <= 0:
            return
        over = self.rows.totals().used + sum(self._coming.values()) + more - self.limit
        for safely in (True, False):
            if over > 0:
                over -= await self.evict(over, safely=safely)
        if over > 0:
            raise StorageFull(
                f"cannot take the file: {format_size(self.rows.totals().unsent)} of files wait for the hub already, "
                f"and {format_size(self.limit)} are allowed. Try later, or raise files.limit."
            )
        await self._make_room(more)
        self._coming[number] = size

    async def _make_room(self, more: int) -> None:
        if (lack := more - self._left()) > 0:
            await self._room.make_room(lack)
            if more > self._left():
                raise StorageFull(
                    f"cannot take the file: the node has no room for {format_size(more)}. Free some, or try later."
                )

    def _left(self) -> int:
        free = self._disk.free_bytes(self._root if self._opened else self._root.parent) - _SPARE
        left = self._room.left()
        return free if left is None else min(free, left - sum(self._coming.values()))

    def _make_directory(self, directory: Path) -> None:
        self._disk.make_directory("file.directory", directory)

    def _tidy(self) -> None:
        """Removes what has no row."""
        self._make_directory(self._root)
        for path in self._root.glob("??/*"):
            if path.suffix == _DAMAGED:
                continue
            if path.suffix == _NEW or self.rows.row(path.parent.name + path.name) is None:
                self._disk.unlink("file.tidy", path)

    def _present(self) -> list[FileRow]:
        """Every content that is here, as if a record named it: the hub says which of them it has."""
        self._make_directory(self._root)
        now, head = self._clock.wall_ns(), max(self.lane.head(), 1)
        paths = [path for path in self._root.glob("??/*") if path.suffix not in (_NEW, _DAMAGED)]
        return [
            FileRow(path.parent.name + path.name, self._blobs.size(path), now, head)
            for path in paths
        ]

    def _unlink(self, paths: Collection[Path]) -> None:
        for path in paths:
            self._disk.unlink("file.drop", path)

    async def _in_thread(self, work: Callable[..., T], *given: object) -> T:
        try:
            return await asyncio.to_thread(work, *given)
        except OSError as error:
            sentence = f"cannot write below {self._root}: {error.strerror}"
            kind = StorageFull if error.errno in _FULL else Transient
            raise kind(sentence) from error


def _take(writer: BlobWriter, digest: hashlib._Hash, piece: bytes) -> None:
    digest.update(piece)
    if piece:
        writer.write(piece)
