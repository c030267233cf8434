"""Puts a backup back: checked first, completed beside what is there, and in its place in one step.

What came out is older than what nodes remember. So the hub's epoch rises above both, intent is written anew with it,
and of all backups only this one counts: nodes notice by themselves and send again what is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlalchemy import URL, Connection, delete

from skerry.hub.backups import ledger, trust_copies
from skerry.hub.backups.apart import Apart, Home
from skerry.hub.backups.copies import SEALED, BlobCopies, Copied
from skerry.hub.backups.ledger import SEEN_FOR, Entry
from skerry.hub.backups.making import MANIFEST, SPARE, Manifest
from skerry.hub.backups.places import Place, place_of
from skerry.hub.backups.snapshot import DATABASE
from skerry.hub.store import changes
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.people_tables import login_failure, sign_in
from skerry.hub.store.tables import (
    FLEET,
    enrolment_token,
    file_chunk,
    file_content,
    hub_process,
    lease,
    live_link,
    login_code,
)
from skerry.kit.archive.format import Header
from skerry.kit.archive.reading import Archive
from skerry.kit.archive.wrapping import ArchiveKey
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, InvalidInput, Refused
from skerry.kit.ids import uuid7
from skerry.kit.units import format_size

_SCRATCH = ".restore.new"


@dataclass(frozen=True)
class Restored:
    """What is there now. `aside` is where the former database is (empty: there was none); times in ns.

    `trust`: the fleet's authority was in it; `needs_trust`: there is none here now.
    """

    hub_id: str
    taken_at: int
    epoch: int
    nodes_told: int
    blobs: int
    missing: int
    aside: str
    trust: bool = False
    needs_trust: bool = False


@dataclass(frozen=True)
class Found:
    """What a backup has."""

    taken_at: int
    blobs: int
    missing: int


@dataclass(frozen=True)
class Wish:
    """`replace`: what is there may be set aside. `without_files`: also without blobs whose copies are gone."""

    replace: bool = False
    without_files: bool = False


@dataclass(frozen=True)
class Database:
    """How a database is opened as a hub does, and how all intent in it is written anew with the current epoch."""

    open: Callable[[URL], HubStore]
    reissue: Callable[[Connection], Collection[str]]


class Restorer:
    """Every call blocks, and must not be in an event loop."""

    def __init__(
        self,
        home: Home,
        key_of: Callable[[Header], ArchiveKey | None],
        database: Database,
        disk: Disk,
        clock: Clock,
    ) -> None:
        self._home = home
        self._place: Place = place_of(home.url)
        self._data_dir = home.data_dir
        self._key_of = key_of
        self._database = database
        self._disk = disk
        self._clock = clock

    def check(self, path: Path) -> Found:
        """Reads a backup whole, and the copies of its blobs. Raises Corrupt, Refused, InvalidInput, OSError."""
        archive, key = self._opened(path)
        archive.verify(key)
        with contextlib.closing(archive.members(key)) as members:
            manifest = _read_manifest(path, b"".join(next(members).content))
        missing = BlobCopies(path.parent / manifest.copies, self._disk).missing(manifest.blobs)
        return Found(manifest.taken_at, len(manifest.blobs), len(missing))

    def restore(self, path: Path, wish: Wish) -> Restored:
        """Raises Corrupt, Refused, InvalidInput, Transient, OSError: then everything is as it was."""
        archive, key = self._opened(path)
        size = archive.verify(key).size
        with self._place.alone():
            if not wish.replace and not self._place.is_empty():
                raise Refused(
                    f"cannot restore {path}: {self._place.url} is not empty. Nothing was changed; --replace sets it aside."
                )
            with self._scratch(size) as scratch:
                archive.extract(key, scratch, self._disk)
                return self._put_back(archive, scratch, wish)

    def _opened(self, path: Path) -> tuple[Archive, ArchiveKey | None]:
        archive = Archive(path)
        if archive.header.what != "hub":
            raise InvalidInput(f"cannot restore {path}: it is a backup of a node")
        return archive, self._key_of(archive.header)

    def _put_back(self, archive: Archive, scratch: Path, wish: Wish) -> Restored:
        manifest = self._manifest(archive, scratch)
        copies = BlobCopies(archive.path.parent / manifest.copies, self._disk)
        missing = copies.missing(manifest.blobs)
        if missing and not wish.without_files:
            raise Refused(
                f"cannot restore {archive.path}: {len(missing)} of its {len(manifest.blobs)} blobs are not in "
                f"{archive.path.parent / manifest.copies}, or damaged. Put that directory beside the backup, or give "
                "--without-files."
            )
        entry = Entry(
            uuid7(self._clock), str(archive.path.absolute()), archive.size, manifest.taken_at,
            self._clock.wall_ns() + SEEN_FOR,
        )  # fmt: skip
        staged = self._place.stage(scratch / DATABASE[manifest.about.kind], scratch)
        apart = self._home.apart_from(archive.path)
        above = max(self._place.epoch(), manifest.about.epoch)
        finish = _Finish(entry, apart, missing, above, self._database.reissue)
        epoch, told = asyncio.run(_finished(self._database.open(staged), finish))
        gone = {each.place for each in missing}
        whole = [each for each in manifest.blobs if each.place not in gone]
        blobs = copies.put_back(whole, self._data_dir)
        trust = scratch / trust_copies.MEMBER
        now = self._clock.wall_ns()
        has_trust = trust.exists() and trust_copies.put_back(
            trust.read_bytes(), self._data_dir, now, self._disk
        )
        aside = self._place.swap(staged, now)
        return Restored(
            manifest.about.hub_id, manifest.taken_at, epoch, told, blobs, len(missing), aside,
            trust=has_trust, needs_trust=not trust_copies.there_are(self._data_dir),
        )  # fmt: skip

    def _manifest(self, archive: Archive, scratch: Path) -> Manifest:
        manifest = _read_manifest(archive.path, (scratch / MANIFEST).read_bytes())
        wanted = "sqlite" if self._place.url.get_backend_name() == "sqlite" else "postgresql"
        if manifest.about.kind != wanted:
            raise InvalidInput(
                f"cannot restore {archive.path}: it is of a database of kind {manifest.about.kind}, and «database» "
                f"names one of kind {wanted}"
            )
        return manifest

    @contextlib.contextmanager
    def _scratch(self, size: int) -> Iterator[Path]:
        """Where the copy is made; for a file, on the same disk as what it replaces."""
        url = self._place.url
        sqlite = url.get_backend_name() == "sqlite"
        directory = Path(url.database or "").parent if sqlite else self._data_dir
        if self._disk.free_bytes(directory) < size + SPARE:
            raise Refused(f"cannot restore: {directory} has no room for {format_size(size)}")
        scratch = directory / _SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class _Finish:
    """What makes of a copy of the past a hub that goes on from there."""

    entry: Entry
    apart: Apart
    missing: list[Copied]
    above: int
    reissue: Callable[[Connection], Collection[str]]

    def __call__(self, connection: Connection) -> tuple[int, int]:
        for table in (lease, hub_process, live_link, login_code, sign_in, login_failure):
            connection.execute(delete(table))
        # One that has been used since would be good again.
        connection.execute(
            delete(enrolment_token).where(enrolment_token.c.used < enrolment_token.c.uses)
        )
        for each in self.missing:
            sha256 = "".join(Path(each.place).parts[-2:]).removesuffix(SEALED)
            for column in (file_content.c.sha256, file_chunk.c.content):
                ours = column.table.c.fleet_id == FLEET
                connection.execute(delete(column.table).where(ours, column == sha256))
        points = self.apart.counted(ledger.read_points(connection))
        ledger.only(connection, self.entry if self.apart.database else None, points)
        epoch = changes.raise_epoch(connection, above=self.above)
        return epoch, len(self.reissue(connection))


async def _finished(store: HubStore, finish: _Finish) -> tuple[int, int]:
    await asyncio.to_thread(store.start)
    try:
        return await store.write(finish)
    finally:
        await asyncio.to_thread(store.stop)


def _read_manifest(path: Path, data: bytes) -> Manifest:
    try:
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise Corrupt(f"cannot use backup {path}: it has no list of itself") from error
