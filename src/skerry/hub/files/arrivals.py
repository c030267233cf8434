"""Takes files from nodes: says what it wants next, checks each chunk as it comes, and the whole at the end.

The bytes are in `Blobs`, as far as they have been checked; what a cut has left of a chunk is in the content's row, and
what other files have of it is taken from there. Whatever is killed here, the next question finds the place.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, Executable, and_, delete, select, update

from skerry.hub.files.layout import Chunk, Layout
from skerry.hub.files.turns import Turns
from skerry.hub.ports import Blobs
from skerry.hub.store.bodies import MANIFEST, TAIL, Bodies, Body
from skerry.hub.store.bulk import insert_new
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, file, file_chunk, file_content
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, NotFound, Refused, SkerryError
from skerry.kit.named_locks import NamedLocks
from skerry.wire.files import FileManifest, FileState

log = logging.getLogger(__name__)

WINDOW, SMALL_WINDOW = 1024 * 1024, 128 * 1024
"""Bytes that a node is asked for at a time: they are in memory while they come. The small one when many come at once."""

_MANY = 32
_REMEMBERED = 64
_ASKED_AT_ONCE = 16
"""Blobs whose presence is asked about at the same time: of a bucket each is a request."""


@dataclass(frozen=True)
class _Content:
    size: int
    arrived_at: int | None
    manifest: bytes
    tail: bytes
    tail_at: int

    @property
    def lacks_manifest(self) -> bool:
        """A content without bytes has an empty one."""
        return not self.manifest and self.size > 0


@dataclass(frozen=True)
class _Place:
    content: str
    start: int
    size: int


class Arrivals:
    """One object for a hub's process; any number of processes may share database and blobs."""

    def __init__(self, store: HubStore, blobs: Blobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self.coming = 0
        """Requests with bytes that are being read now."""
        self._busy = NamedLocks()
        self._layouts: OrderedDict[str, tuple[bytes, Layout]] = OrderedDict()
        self._turns = Turns(clock)

    async def state(self, node_id: str, sha256: str) -> FileState:
        """What is wanted next of a file. Raises NotFound when no record of this node names it."""
        await self._check_named(node_id, sha256, None)
        async with self._busy[sha256]:
            return await self._state(sha256)

    async def offer(self, node_id: str, manifest: FileManifest) -> FileState:
        """Takes note of what a file consists of. Raises NotFound, InvalidInput."""
        await self._check_named(node_id, manifest.sha256, manifest.size)
        layout = Layout.of(manifest)
        packed, now = layout.packed(), self._clock.wall_ns()

        def work(connection: Connection) -> None:
            row = {
                "size": manifest.size, "begun_at": now,
                "manifest": _sealed(connection, MANIFEST, packed, manifest.sha256),
                "tail": b"", "tail_at": 0,
            }  # fmt: skip
            connection.execute(
                insert(connection, file_content)
                .values(fleet_id=FLEET, sha256=manifest.sha256, **row)
                .on_conflict_do_update(
                    index_elements=["fleet_id", "sha256"],
                    set_=row,
                    where=and_(file_content.c.arrived_at.is_(None), file_content.c.manifest == b""),
                )
            )

        async with self._busy[manifest.sha256]:
            found = await self._content(manifest.sha256)
            if found is None or not await self._is_whole(
                manifest.sha256, found.size, found.arrived_at
            ):
                await self._store.write(work)
            return await self._state(manifest.sha256)

    async def take(self, node_id: str, sha256: str, start: int, data: bytes) -> FileState:
        """Keeps bytes from `start` on, if they are those that are wanted; answers what is wanted then.

        Raises NotFound, StorageFull, and InvalidInput when a chunk or the whole is not what it was said to be; what came
        before it is kept, unless another node may have said so: then the next one says it anew.
        """
        await self._check_named(node_id, sha256, None)
        async with self._busy[sha256]:
            found = await self._content(sha256)
            if found is None or found.arrived_at is not None or found.lacks_manifest:
                return await self._state(sha256)
            at = (await self._blobs.state(sha256)).received
            tail = found.tail if found.tail_at == at else b""
            if start != at + len(tail):
                return await self._state(sha256)
            checked = self._layout(sha256, found).check(at, tail + data)
            if checked.verified:
                at += len(checked.verified)
                await self._add(sha256, at - len(checked.verified), found, checked.verified)
                self._turns.took(sha256, node_id)
            if checked.rest or found.tail:
                await self._keep_tail(sha256, at, checked.rest)
            if checked.wrong:
                if self._turns.disagrees(sha256, node_id):
                    await self._begin_anew(sha256)
                raise InvalidInput(
                    f"cannot take file {sha256[:12]}…: its bytes from {at} on are not what was said. Send them again."
                )
            return await self._state(sha256)

    async def held(self, node_id: str, sha256s: Collection[str]) -> list[str]:
        """Which of these a record of this node names and the hub has whole. Each one's bytes are looked for."""
        query = (
            select(file_content.c.sha256, file_content.c.size, file_content.c.arrived_at)
            .join(file, file.c.sha256 == file_content.c.sha256)
            .where(
                file_content.c.fleet_id == FLEET,
                file_content.c.arrived_at.is_not(None),
                file_content.c.sha256.in_(sha256s),
                file.c.fleet_id == FLEET,
                file.c.node_id == node_id,
            )
            .distinct()
        )
        rows = await self._store.read(lambda connection: connection.execute(query).all())
        few = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def is_whole(sha256: str, size: int, arrived_at: int | None) -> bool:
            async with few:
                return await self._is_whole(sha256, size, arrived_at)

        whole = await asyncio.gather(*(is_whole(*row) for row in rows))
        return [row.sha256 for row, yes in zip(rows, whole, strict=True) if yes]

    async def forget(self, sha256: str) -> bool:
        """Removes a content that no record names any more; False: one does."""
        content = (file_content.c.fleet_id == FLEET, file_content.c.sha256 == sha256)

        def let_go(connection: Connection) -> bool:
            named = select(file.c.counter).where(file.c.fleet_id == FLEET, file.c.sha256 == sha256)
            if connection.execute(named.limit(1)).first() is not None:
                return False
            nothing = {"arrived_at": None, "manifest": b"", "tail": b""}
            connection.execute(update(file_content).where(*content).values(**nothing))
            where = (file_chunk.c.fleet_id == FLEET, file_chunk.c.content == sha256)
            connection.execute(delete(file_chunk).where(*where))
            return True

        async with self._busy[sha256]:
            if not await self._store.write(let_go):
                return False
            self._layouts.pop(sha256, None)
            await self._blobs.remove(sha256)
            # Another process may have taken it once more meanwhile: whole, or whole before its blob was removed here.
            left = delete(file_content).where(*content, file_content.c.arrived_at.is_(None))
            if not await self._store.write(lambda connection: connection.execute(left).rowcount):
                if await self._blobs.size(sha256) is not None:
                    return False
                await self._execute(delete(file_content).where(*content))
            return True

    async def _state(self, sha256: str) -> FileState:
        """Takes what is known from elsewhere first."""
        found = await self._content(sha256)
        if found is not None and found.arrived_at is not None:
            whole = await self._is_whole(sha256, found.size, found.arrived_at)
            return FileState(sha256, complete=whole, manifest=not whole)
        if found is None or found.lacks_manifest:
            return FileState(sha256, complete=False, manifest=True)
        layout = self._layout(sha256, found)
        while True:
            blob = await self._blobs.state(sha256)
            if blob.complete:
                await self._arrived(sha256, layout)
                return FileState(sha256, complete=True)
            if (
                blob.received == found.size
            ):  # killed before it was hashed, or there is nothing to send
                await self._add(sha256, found.size, found, b"")
                continue
            at = blob.received
            tail = len(found.tail) if found.tail_at == at else 0
            window = WINDOW if self.coming < _MANY else SMALL_WINDOW
            ahead = layout.following(at + tail, window)
            known = await self._known(ahead)
            if tail or not await self._copy(sha256, at, ahead, known, found):
                end = layout.wanted(at + tail, window, known.keys())
                return FileState(sha256, complete=False, start=at + tail, end=end)

    async def _copy(
        self,
        sha256: str,
        at: int,
        ahead: list[Chunk],
        known: dict[str, _Place],
        found: _Content,
    ) -> bool:
        """Adds the chunks from `at` on that other files have; False: there are none."""
        copied = b""
        for chunk in ahead:
            place = known.get(chunk.sha256)
            if place is None or chunk.start != at + len(copied):
                break
            data = await self._read(place)
            if hashlib.sha256(data).hexdigest() != chunk.sha256:
                log.warning("chunk %s… is not in file %s…", chunk.sha256[:12], place.content[:12])
                del known[chunk.sha256]
                where = (file_chunk.c.fleet_id == FLEET, file_chunk.c.sha256 == chunk.sha256)
                await self._execute(delete(file_chunk).where(*where))
                break
            copied += data
        if copied:
            await self._add(sha256, at, found, copied)
        return bool(copied)

    async def _read(self, place: _Place) -> bytes:
        end = place.start + place.size
        try:
            return b"".join(
                [part async for part in self._blobs.read(place.content, place.start, end)]
            )
        except SkerryError as error:
            log.warning("%s", error)
            return b""

    async def _add(self, sha256: str, at: int, found: _Content, data: bytes) -> None:
        try:
            await self._blobs.add(sha256, at, found.size, data)
        except InvalidInput:
            # Every chunk was right and the whole is not: the manifest was wrong, or the disk.
            await self._forget_manifest(sha256)
            raise

    async def _begin_anew(self, sha256: str) -> None:
        """What was checked against a manifest that may be a lie goes with it."""
        if not (await self._blobs.state(sha256)).complete:
            await self._blobs.remove(sha256)
            await self._forget_manifest(sha256)

    async def _forget_manifest(self, sha256: str) -> None:
        where = (file_content.c.fleet_id == FLEET, file_content.c.sha256 == sha256)
        self._layouts.pop(sha256, None)
        await self._execute(delete(file_content).where(*where))

    async def _is_whole(self, sha256: str, size: int, arrived_at: int | None) -> bool:
        """Whether all of a content's bytes are there. Where only the database says so, nothing of it has come."""
        if arrived_at is None:
            return False
        there = await self._blobs.size(sha256)
        if there == size:
            return True
        log.warning("the bytes of file %s… are lost; nodes that have them send them", sha256[:12])
        ours = (file_content.c.fleet_id == FLEET, file_content.c.sha256 == sha256)
        # Meanwhile another process may have got them again.
        gone = update(file_content).where(*ours, file_content.c.arrived_at == arrived_at)
        nothing = gone.values(arrived_at=None, manifest=b"", tail=b"")
        mine = await self._store.write(lambda connection: connection.execute(nothing).rowcount)
        if mine and there is not None:  # cut: what is left is in the way of the whole
            await self._blobs.remove(sha256)
        where = (file_chunk.c.fleet_id == FLEET, file_chunk.c.content == sha256)
        await self._execute(delete(file_chunk).where(*where))
        return False

    async def _arrived(self, sha256: str, layout: Layout) -> None:
        now = self._clock.wall_ns()
        rows = [
            (FLEET, chunk.sha256, sha256, chunk.start, chunk.end - chunk.start)
            for chunk in layout.chunks
        ]

        def work(connection: Connection) -> None:
            if rows:
                insert_new(connection, file_chunk, rows)
            connection.execute(
                update(file_content)
                .where(file_content.c.fleet_id == FLEET, file_content.c.sha256 == sha256)
                .values(arrived_at=now, manifest=b"", tail=b"")
            )

        await self._store.write(work)
        self._layouts.pop(sha256, None)

    async def _keep_tail(self, sha256: str, at: int, tail: bytes) -> None:
        where = (file_content.c.fleet_id == FLEET, file_content.c.sha256 == sha256)

        def work(connection: Connection) -> None:
            sealed = _sealed(connection, TAIL, tail, sha256)
            connection.execute(update(file_content).where(*where).values(tail=sealed, tail_at=at))

        await self._store.write(work)

    async def _execute(self, statement: Executable) -> None:
        def work(connection: Connection) -> None:
            connection.execute(statement)

        await self._store.write(work)

    async def _known(self, chunks: list[Chunk]) -> dict[str, _Place]:
        query = select(file_chunk).where(
            file_chunk.c.fleet_id == FLEET,
            file_chunk.c.sha256.in_({chunk.sha256 for chunk in chunks}),
        )
        rows = await self._store.read(lambda connection: connection.execute(query).all())
        return {row.sha256: _Place(row.content, row.start, row.size) for row in rows}

    async def _content(self, sha256: str) -> _Content | None:
        query = select(file_content).where(
            file_content.c.fleet_id == FLEET, file_content.c.sha256 == sha256
        )

        def work(connection: Connection) -> _Content | None:
            row = connection.execute(query).first()
            if row is None:
                return None
            manifest = _opened(connection, MANIFEST, row.manifest, sha256)
            tail = _opened(connection, TAIL, row.tail, sha256)
            return _Content(row.size, row.arrived_at, manifest, tail, row.tail_at)

        return await self._store.read(work)

    def _layout(self, sha256: str, found: _Content) -> Layout:
        manifest, layout = self._layouts.pop(sha256, (None, None))
        if layout is None or manifest != found.manifest:  # another process may have a newer one
            layout = Layout.unpacked(found.manifest)
        self._layouts[sha256] = found.manifest, layout
        if len(self._layouts) > _REMEMBERED:
            self._layouts.popitem(last=False)
        return layout

    async def _check_named(self, node_id: str, sha256: str, size: int | None) -> None:
        query = select(file.c.size).where(
            file.c.fleet_id == FLEET, file.c.sha256 == sha256, file.c.node_id == node_id
        )
        sizes = await self._store.read(lambda connection: connection.execute(query).scalars().all())
        if not sizes:
            raise NotFound(f"cannot take file {sha256[:12]}…: no record of this node names it yet")
        if size is not None and size not in sizes:
            raise Refused(
                f"cannot take file {sha256[:12]}…: its record says {sizes[0]} bytes, not {size}"
            )


def _sealed(connection: Connection, body: Body, plain: bytes, sha256: str) -> bytes:
    """Nothing stays nothing: queries ask for it."""
    return Bodies.of(connection).seal(body, plain, sha256) if plain else b""


def _opened(connection: Connection, body: Body, stored: bytes, sha256: str) -> bytes:
    return Bodies.of(connection).open(body, stored, sha256) if stored else b""
