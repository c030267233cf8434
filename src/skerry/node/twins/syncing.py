"""Twins and their files kept the same: what drivers write goes into the rows, what the rows say goes into the files.

A look at one twin: what the file has that was not written there is a driver's edit, and goes into the row together
with a note of the file as it is (one transaction); then the file is made what the row says. `twin_files` has what
was written, and before it is written what is going to be: an agent that is killed anywhere goes on from there.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import replace

from skerry.core.merging.bodies import Body, decoded, encoded, same
from skerry.kit.bell import Bell, Rings
from skerry.kit.clock import NS, Clock
from skerry.kit.directory_watch import DirectoryWatch
from skerry.kit.errors import InvalidInput, NotFound, Refused, Transient
from skerry.node.store.twin_files import TwinFileStore, WrittenFile
from skerry.node.twins.edits import Edit, edit_of, refreshed, text_of, view_of
from skerry.node.twins.files import Seen, Stamp, TwinFiles
from skerry.node.twins.rows import Twin, TwinStore
from skerry.wire.entities import Reading

LOOK_EVERY = 15.0
"""Seconds, whether or not anything was noticed."""

QUIET = 1.0
"""Seconds for which a file must not have changed before it counts as wrong: it may be half-written."""

_SETTLED = 2 * NS
"""So old, a file that is written again has another time for sure."""

log = logging.getLogger(__name__)


class FileNews(Protocol):
    """Tells people of a twin (its UUID) and its file. Raises Transient: it is told again."""

    async def remark(self, twin: str, words: str) -> None:
        """Something is to be known."""
        ...

    async def wrong(self, twin: str, words: str) -> None:
        """It cannot be used; told for each content of it."""
        ...

    async def right(self, twin: str) -> None:
        """It can be used; told at first, and when it was wrong."""
        ...


class _Wrong(msgspec.Struct, frozen=True):
    """A file that could not be used, which it was, and since when (monotonic ns)."""

    stamp: Stamp | None
    since: int
    told: bool = False


class FileSync:
    """Of all twins that this device serves. `run` goes on for ever; `look` does it all once."""

    def __init__(
        self,
        twins: TwinStore,
        files: TwinFiles,
        store: TwinFileStore,
        clock: Clock,
        news: FileNews,
    ) -> None:
        self._twins = twins
        self._files = files
        self._store = store
        self._clock = clock
        self._news = news
        self._bell = Bell()
        self._watch = DirectoryWatch(self._bell)
        self._looking = asyncio.Lock()
        self._same: dict[str, tuple[Stamp | None, str]] = {}
        """Files that are what was written, and what that shows."""
        self._wrong: dict[str, _Wrong] = {}
        self._right: set[str] = set()
        """Twins whose file is told to be right."""
        self._inodes: dict[str, int] = {}

    async def run(self) -> None:
        """Looks whenever a file or a twin may have changed."""
        rings = Rings([self._bell, self._twins.changed])
        try:
            while True:
                rings.note()
                await self._watch.watch([self._files.directory])
                await rings.next(self._clock, await self.look())
        finally:
            self._watch.close()

    def written(self) -> list[Path]:
        """The files that were written here, also by an agent before this one."""
        return [self._files.path(uuid) for uuid in self._store.twins()]

    async def look(self) -> float:
        """Looks at all files once; returns after how many seconds the next look is due."""
        async with self._looking:
            twins = {twin.uuid: twin for twin in self._twins.linked()}
            gone = [uuid for uuid in self._store.twins() if uuid not in twins]
            for uuid in gone:
                await self._leave(uuid)
                self._same.pop(uuid, None)
                self._inodes.pop(uuid, None)
                self._wrong.pop(uuid, None)
                self._right.discard(uuid)
            await self._store.forget(gone)
            return min([await self._guarded(uuid) for uuid in twins], default=LOOK_EVERY)

    async def clear(self) -> None:
        """Takes drivers' edits up a last time and removes the files, also those of twins that are not this device's any more."""
        await self.look()
        async with self._looking:
            known = sorted({*self._store.twins(), *self._files.known()})
            gone = [uuid for uuid in known if await self._removed(uuid)]
            self._same.clear()
            self._inodes.clear()
            await self._store.forget(gone)

    async def _leave(self, uuid: str) -> None:
        """The twin is not this device's any more: what its row said goes, what only the file has is not ours to remove."""
        held = self._store.of(uuid)
        try:
            seen = await asyncio.to_thread(self._files.read, uuid)
        except (Refused, OSError):
            seen = None
        if held is not None and seen is not None and _is_row_alone(seen, held):
            await self._removed(uuid)
        log.info("twin %s is not this device's any more", uuid)

    async def _removed(self, uuid: str) -> bool:
        try:
            await asyncio.to_thread(self._files.remove, uuid)
        except OSError as error:
            log.warning("cannot remove %s, which stays: %s", self._files.path(uuid), error.strerror)
            return False
        return True

    async def _guarded(self, uuid: str) -> float:
        stamp: Stamp | None = None
        try:
            stamp = self._files.stamp(uuid)
            for _ in range(3):  # a driver may write just now
                twin = self._twins.twin(uuid)
                if twin is None or await self._settled(twin):
                    self._wrong.pop(uuid, None)
                    await self._tell_right(uuid)
                    return LOOK_EVERY
        except (InvalidInput, Refused) as error:
            return await self._told(uuid, stamp, str(error).rstrip("."))
        except OSError as error:
            return await self._told(uuid, stamp, error.strerror or str(error))
        except NotFound:
            log.info("twin %s was deleted while its file was looked at", uuid)
        except Transient as error:
            log.warning("cannot keep the file of twin %s, trying again: %s", uuid, error)
        return QUIET

    async def _told(self, uuid: str, stamp: Stamp | None, why: str) -> float:
        """Tells once of each wrong file, after it has been as it is for a while."""
        now, before = self._clock.monotonic_ns(), self._wrong.get(uuid)
        if before is None or before.stamp != stamp:
            self._wrong[uuid] = _Wrong(stamp, now)
            return QUIET
        if before.told:
            return LOOK_EVERY
        if now - before.since < QUIET * NS:
            return QUIET
        words = f"cannot use {self._files.path(uuid)}: {why}. It is left as it is until it is right"
        self._right.discard(uuid)
        try:
            await self._news.wrong(uuid, words)
        except Transient as error:
            log.warning("%s; and people could not be told, trying again: %s", words, error)
            return QUIET
        self._wrong[uuid] = replace(before, told=True)
        return LOOK_EVERY

    async def _tell_right(self, uuid: str) -> None:
        """An agent before this one may have told otherwise."""
        if uuid not in self._right:
            await self._news.right(uuid)
            self._right.add(uuid)

    async def _settled(self, twin: Twin) -> bool:
        """Whether file and row say the same now."""
        view = view_of(twin.uuid, twin.body, self._twins.asset_of(twin))
        source = hashlib.sha256(encoded(view)).hexdigest()
        if self._same.get(twin.uuid) == (self._files.stamp(twin.uuid), source):
            return True
        seen = await asyncio.to_thread(self._files.read, twin.uuid)
        await self._notice_another(twin.uuid, seen)
        if seen is not None and _is_empty(seen) and not self._is_quiet(seen):
            raise InvalidInput("it is empty")
        held = self._store.of(twin.uuid)
        if held is not None and held.next is not None and seen and seen.text == held.next:
            held = await self._noted(replace(held, written=held.next, next=None))
        edit = _edit(seen, held)
        if edit is not None and edit.left_out:
            log.warning(
                "twin %s: %s is not a driver's to change", twin.uuid, ", ".join(edit.left_out)
            )
        if edit is not None and edit.patch:
            assert held is not None and seen is not None  # noqa: S101, PT018 - else there is none
            held = await self._taken(twin.uuid, edit.patch, held, seen)
        elif held is None or seen is None or _is_empty(seen) or _is_old(held, twin, source):
            held = await self._noted(self._planned(twin, held, seen))
        return await self._written(held, seen, source)

    async def _notice_another(self, uuid: str, seen: Seen | None) -> None:
        """A file that has taken the former one's place is not the one that a container has mounted, also where that was removed."""
        if seen is None:
            return
        inode, before = seen.stamp[0], self._inodes.get(uuid)
        self._inodes[uuid] = inode
        if before not in {None, inode}:
            path = self._files.path(uuid)
            await self._news.remark(
                uuid,
                f"{path} was replaced by another file: a container that runs goes on seeing the former one. "
                "Start it again, and write in place",
            )

    async def _taken(self, uuid: str, patch: Body, held: WrittenFile, seen: Seen) -> WrittenFile:
        """Puts a driver's edit into the row, made on the version that its file showed."""
        planned: list[WrittenFile] = []

        def beside(db: sqlite3.Connection, now: Twin) -> None:
            planned.append(self._planned(now, held, seen))
            self._store.put_in(db, planned[-1])

        read = Reading(held.revision, held.rev, msgspec.Raw(held.row))
        await self._twins.edit(uuid, patch, read, beside)
        log.info("twin %s: its driver has changed %s", uuid, ", ".join(sorted(patch)))
        return planned[-1]

    def _planned(self, twin: Twin, held: WrittenFile | None, seen: Seen | None) -> WrittenFile:
        """What is going to be written, over what the file is now."""
        asset = self._twins.asset_of(twin)
        view = view_of(twin.uuid, twin.body, asset)
        before = b"{}" if held is None else held.written
        torn = seen is None or _is_empty(seen) or (held is not None and _is_torn(seen, held))
        here = before if torn or seen is None else seen.text
        was = {} if held is None else view_of(twin.uuid, decoded(held.row), None)
        content = refreshed(decoded(here), was, view)
        source = hashlib.sha256(encoded(view)).hexdigest()
        is_same = seen is not None and here == seen.text and same(content, decoded(here))
        following = None if is_same else text_of(content)
        return WrittenFile(twin.uuid, twin.revision, twin.rev, source, twin.row, here, following)

    async def _written(self, held: WrittenFile, seen: Seen | None, source: str) -> bool:
        """Writes what is planned, if anything is; False: the file has changed meanwhile."""
        over = None if seen is None else seen.stamp
        if held.next is not None:
            text = held.next
            if not await asyncio.to_thread(self._files.write, held.twin, text, over):
                return False
            await self._noted(replace(held, written=text, next=None))
            return True
        if over is not None and self._clock.wall_ns() - over[2] > _SETTLED:
            self._same[held.twin] = (over, source)
        return held.source == source

    def _is_quiet(self, seen: Seen) -> bool:
        return self._clock.wall_ns() - seen.stamp[2] >= QUIET * NS

    async def _noted(self, held: WrittenFile) -> WrittenFile:
        await self._store.put(held)
        return held


def _edit(seen: Seen | None, held: WrittenFile | None) -> Edit | None:
    """What a driver has made of the file since; None: there is nothing to compare. Raises InvalidInput."""
    if seen is None or held is None or seen.text == held.written:
        return None
    if _is_empty(seen) or _is_torn(seen, held):
        return None
    known = [held.written] if held.next is None else [held.written, held.next]
    return edit_of(decoded(seen.text), [decoded(each) for each in known])


def _is_empty(seen: Seen) -> bool:
    """Whether nothing of anybody's is in it, as when a program ends between emptying a file and writing it."""
    return not seen.text.strip()


def _is_row_alone(seen: Seen, held: WrittenFile) -> bool:
    """Whether the file is as it was written, and has nothing of its own."""
    if held.next is not None or seen.text != held.written:
        return False
    return hashlib.sha256(encoded(decoded(seen.text))).hexdigest() == held.source


def _is_torn(seen: Seen, held: WrittenFile) -> bool:
    """Whether we were killed while we wrote the file."""
    if held.next is None:
        return False
    try:
        decoded(seen.text)
    except InvalidInput:
        return True
    return False


def _is_old(held: WrittenFile, twin: Twin, source: str) -> bool:
    return (held.source, held.revision) != (source, twin.revision) or held.next is not None
