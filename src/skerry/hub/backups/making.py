"""Makes a backup of the hub while it works: one archive, and beside it copies of the blobs that it lists.

`schedule` does so in the hub, `hub.maintenance` for the command line. What it returns may be told to nodes (`ledger`),
because the archive is durable and was read back whole by then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from skerry import __version__
from skerry.hub.backups import trust_copies
from skerry.hub.backups.apart import Home
from skerry.hub.backups.copies import SEALED, BlobCopies, Copied
from skerry.hub.backups.ledger import Point
from skerry.hub.backups.scratch import scratch_in
from skerry.hub.backups.snapshot import DATABASE, About, Snapshot, size_of, snapshot
from skerry.kit.archive.format import FORMAT, Header, Member, Progress
from skerry.kit.archive.rotation import Held, held, next_name, surplus, to_make_room
from skerry.kit.archive.wrapping import Wrapping, new_key
from skerry.kit.archive.writing import PART, of_bytes, write_archive
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Refused
from skerry.kit.file_lock import Held as LockHeld
from skerry.kit.file_lock import locked
from skerry.kit.units import format_size

MANIFEST = "manifest.json"
COPIES = ".blobs"
SPARE = 256 * 1024 * 1024
"""Bytes that a backup leaves free on its disk: the database may lie there, too."""

_LOCK = ".backup.lock"


class Manifest(msgspec.Struct, frozen=True):
    """The first member of a hub's archive. `copies` is the directory of the blobs beside it.

    `bucket` is where they are instead, if the hub keeps them elsewhere: then they are not in the backup.
    """

    about: About
    taken_at: int
    blobs: list[Copied]
    copies: Annotated[str, msgspec.Meta(pattern=r"\A[^/]*\.blobs\Z")]
    bucket: str = ""


@dataclass(frozen=True)
class Made:
    """A backup that is there and was read back. Times in ns, sizes in bytes.

    `plain` of the `blobs` are not encrypted, whatever the archive is. `apart`: on another disk than the database; `files_apart`: than the files. `points` are those that nodes may rely on.
    `without_trust`: the fleet's authority is not in it, because it is not sealed.
    """

    path: Path
    size: int
    taken_at: int
    about: About
    points: list[Point]
    blobs: int
    plain: int
    encrypted: bool
    apart: bool
    files_apart: bool
    without_trust: bool = False


class Maker:
    """`fleet` names the backups. `wrappings` are what an archive's key is wrapped with; without any, archives are not encrypted. Every call blocks."""

    def __init__(
        self,
        home: Home,
        fleet: str,
        wrappings: Callable[[], Sequence[Wrapping]],
        disk: Disk,
        clock: Clock,
    ) -> None:
        self._home = home
        self._fleet = fleet
        self._wrappings = wrappings
        self._disk = disk
        self._clock = clock

    def to_file(self, path: Path, progress: Progress = lambda _: None) -> Made:
        """One backup under a name that nothing has. Raises Refused, Transient, Corrupt, OSError: then nothing is left."""
        if path.exists():
            raise Refused(f"cannot write {path}: it is there already. Give another name.")
        copies = path.with_name(path.stem + COPIES)
        with self._alone(path.parent) as scratch:
            self._check_room(path.parent, copies)
            with snapshot(self._home.url, scratch, progress) as taken:
                return self._write(path, taken, copies, progress)

    def to_directory(
        self, directory: Path, hub_id: str, progress: Progress = lambda _: None
    ) -> Made:
        """The next backup in the directory of backups; nothing is removed. Raises as `to_file`."""
        with self._alone(directory) as scratch:
            for part in directory.glob(f"hub-{self.owner(hub_id)}-*{PART}"):
                self._disk.unlink("backup.tidy", part)
            self._check_room(directory, directory / self._copies(hub_id))
            with snapshot(self._home.url, scratch, progress) as taken:
                owner, now = self.owner(hub_id), self._clock.wall_ns()
                name = next_name("hub", owner, self.held(directory, hub_id), now)
                copies = directory / self._copies(hub_id)
                return self._write(directory / name, taken, copies, progress)

    def held(self, directory: Path, hub_id: str) -> list[Held]:
        """This hub's backups there, the oldest first."""
        files = ((path.name, path.stat().st_size) for path in directory.glob("hub-*"))
        return held("hub", self.owner(hub_id), files)

    def too_many(self, directory: Path, hub_id: str, keep: int) -> list[Path]:
        """What may go now that there is a newer one."""
        return [directory / one.name for one in surplus(self.held(directory, hub_id), keep)]

    def in_the_way(self, directory: Path, hub_id: str) -> list[Path]:
        """What must go so that there is room for the next one, and may: never the newest."""
        if not directory.is_dir():
            return []
        lack = self.lack(directory, directory / self._copies(hub_id))
        return [directory / one.name for one in to_make_room(self.held(directory, hub_id), lack)]

    def remove(self, directory: Path, hub_id: str, paths: Collection[Path]) -> None:
        """Removes backups, of which nobody may be told any more, and the copies of blobs that only they list."""
        for path in paths:
            self._disk.unlink("backup.rotate", path)
        if paths:
            there = [one.name for one in self.held(directory, hub_id)]
            BlobCopies(directory / self._copies(hub_id), self._disk).sweep(there)

    def lack(self, directory: Path, copies: Path) -> int:
        """Bytes that a backup there would have too little room for; 0: it fits.

        Where the data directory is on the same disk, SQLite's copy and the archive are there at the same time.
        """
        wanted = size_of(self._home.url) + SPARE
        if directory.stat().st_dev == self._home.data_dir.stat().st_dev:
            wanted += self._scratch_size()
        if not self._home.bucket:
            wanted += BlobCopies(copies, self._disk).wanted(self._home.data_dir)
        return max(wanted - self._disk.free_bytes(directory), 0)

    def _check_room(self, directory: Path, copies: Path) -> None:
        if lack := self.lack(directory, copies):
            raise Refused(
                f"cannot make a backup: {directory} has {format_size(lack)} too little room. Free some, choose another "
                "place (storage.backup_path), or keep fewer (storage.backup_keep)."
            )
        data_dir, wanted = self._home.data_dir, self._scratch_size()
        lack = wanted + SPARE - self._disk.free_bytes(data_dir)
        if wanted and lack > 0:
            raise Refused(
                f"cannot make a backup: the database is copied in {data_dir} first, which has {format_size(lack)} too "
                "little room. Free some."
            )

    def _scratch_size(self) -> int:
        sqlite = self._home.url.get_backend_name() == "sqlite"
        return size_of(self._home.url) if sqlite else 0

    def owner(self, hub_id: str) -> str:
        """What this hub's backups are named by."""
        return f"{self._fleet}-{hub_id[-8:]}"

    def _write(self, path: Path, taken: Snapshot, copies: Path, progress: Progress) -> Made:
        # After the database: what has arrived by its word is there to be copied.
        blobs = [] if self._home.bucket else self._copied(copies, path.name)
        wrappings = self._wrappings()
        key = new_key(wrappings) if wrappings else None
        now = self._clock.wall_ns()
        manifest = Manifest(taken.about, now, blobs, copies.name, self._home.bucket)
        header = Header(
            FORMAT, "hub", taken.about.hub_id, self._fleet, now, __version__,
            taken.about.schema, "everything",
        )  # fmt: skip
        members = [
            of_bytes(MANIFEST, msgspec.json.encode(manifest)),
            Member(DATABASE[taken.about.kind], taken.content()),
        ]
        has_trust = trust_copies.are_taken(self._home.data_dir)
        if has_trust and key is not None:
            members.append(of_bytes(trust_copies.MEMBER, trust_copies.taken(self._home.data_dir)))
        written = write_archive(path, header, members, key=key, disk=self._disk, progress=progress)
        apart = self._home.apart_from(path)
        return Made(
            path, written.size, now, taken.about, apart.counted(taken.points), len(blobs),
            sum(not blob.place.endswith(SEALED) for blob in blobs), key is not None, apart.database, apart.files,
            without_trust=has_trust and key is None,
        )  # fmt: skip

    def _copied(self, copies: Path, archive: str) -> list[Copied]:
        return BlobCopies(copies, self._disk).take(self._home.data_dir, archive)

    def _copies(self, hub_id: str) -> str:
        return f"hub-{self.owner(hub_id)}{COPIES}"

    @contextlib.contextmanager
    def _alone(self, directory: Path) -> Iterator[Path]:
        """A scratch directory, for whoever is the only one that makes a backup in `directory`."""
        if not directory.is_dir():
            raise Refused(
                f"cannot make a backup: {directory} is not there. Is the stick or share mounted?"
            )
        try:
            with locked(directory / _LOCK), scratch_in(self._home.data_dir) as scratch:
                yield scratch
        except LockHeld as error:
            raise Refused(
                f"cannot make a backup: process {error.holder} is making one in {directory}"
            ) from error
