"""Makes a backup of a node, whether its agent runs or not: `skerry node backup`, and the schedule in a child.

Nothing of it is loaded by the agent. A second one at the same time is refused.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skerry import __version__
from skerry.kit.archive.format import FORMAT, Header, Progress
from skerry.kit.archive.reading import Archive
from skerry.kit.archive.rotation import (
    Held,
    from_before,
    held,
    next_name,
    surplus,
    time_word,
    to_make_room,
)
from skerry.kit.archive.wrapping import ArchiveKey, Wrapping, by_passphrase, by_ring, new_key
from skerry.kit.archive.writing import PART, write_archive
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Refused, SkerryError
from skerry.kit.file_lock import Held as LockHeld
from skerry.kit.file_lock import locked
from skerry.kit.sealing.cipher import Cipher, NullCipher
from skerry.kit.sealing.sources import Surroundings, read_secret
from skerry.kit.units import format_size
from skerry.node.backups.place import (
    DIRECTORY,
    NEWEST,
    backup_directory,
    database_file,
    owner_of,
)
from skerry.node.backups.snapshot import DATABASE, KEYS, SETTINGS, Holds, Snapshot, take
from skerry.node.identity import SECRET_FILE, Identity, read_identity
from skerry.node.node_settings import DIRECT, NodeSettings, to_bytes
from skerry.node.store.opening import integrity_problem
from skerry.node.store.replacing import damaged_ones
from skerry.node.trust.files import DIRECTORY as TRUST
from skerry.node.trust.files import OWN_FILE, ROOTS_FILE

if TYPE_CHECKING:
    from skerry.kit.sealing.key_ring import KeyRing
    from skerry.kit.sealing.keys import Keys

LOCK_FILE = "backup.lock"
SPARE = 64 * 1024 * 1024
"""Bytes that a backup leaves free on the disk."""

_STAGING = "backup.new"
_RINGS = ("keys.json", "keys.copy.json")


class Made(msgspec.Struct, frozen=True):
    """A backup that is there and was read back. Sizes in bytes; `opened_by` is empty when it is not encrypted."""

    path: str
    size: int
    made_at: int
    holds: Holds
    content: int
    records: int
    files: int
    opened_by: list[str]
    removed: list[str] = []


class DatabaseDamaged(Corrupt):
    """The database does not open whole, or what was read of it does not: nothing is said about the backup."""


class Maker:
    """Makes backups of the node with these settings. `passphrase` is one to recover them by. Every call blocks.

    `kek`: what the agent opens the node's keys with; without it, they are opened from their source.
    """

    def __init__(
        self,
        settings: NodeSettings,
        disk: Disk,
        clock: Clock,
        passphrase: bytes | None = None,
        *,
        kek: bytes = b"",
    ) -> None:
        self._settings = settings
        self._disk = disk
        self._clock = clock
        self._data_dir = settings.data_dir.absolute()
        self._kek = kek
        self._passphrase = passphrase or recovery_passphrase(settings)

    def to_file(self, path: Path, progress: Progress = lambda _: None) -> Made:
        """Everything, into a file that is not there yet. Raises Refused, Corrupt, OSError."""
        if path.exists():
            raise Refused(f"cannot write {path}: it is there already. Give another name.")
        if not path.parent.is_dir():
            raise Refused(
                f"cannot write {path}: there is no directory {path.parent}. Is the stick or share mounted?"
            )
        with self._snapshot("everything") as (taken, key):
            self._leave_room(path.parent, taken.size)
            return self._write(path, taken, key, "everything", progress)

    def to_directory(
        self, holds: Holds, *, room: int | None = None, progress: Progress = lambda _: None
    ) -> Made:
        """The next backup in the directory of backups, from which those go that are too many now.

        `room` is what the data directory may still grow by. Raises Refused, Corrupt, OSError: then the others stay.
        """
        self._database()
        directory = backup_directory(self._settings)
        if directory == self._data_dir / DIRECTORY:
            directory.mkdir(mode=0o700, exist_ok=True)
        elif not directory.is_dir():
            raise Refused(
                f"cannot make a backup: {directory} is not there. Is the stick or share mounted?"
            )
        with self._snapshot(holds) as (taken, key):
            owner = owner_of(self._settings, self._identity())
            files = ((path.name, path.stat().st_size) for path in directory.glob("node-*"))
            there = [_with_kind(directory, one) for one in held("node", owner, files)]
            spared = self._from_before(there)
            for part in directory.glob(f"node-{owner}-*{PART}"):
                self._disk.unlink("backup.tidy", part)
            rotated = [one for one in there if one not in spared]
            gone = self._make_room(directory, taken.size, room, rotated)
            path = directory / next_name("node", owner, there, self._clock.wall_ns())
            made = self._write(path, taken, key, holds, progress)
            self._disk.write_atomic("backup.newest", self._data_dir / NEWEST, bytes(path))
        left = [one for one in rotated if one not in gone]
        number = 1 + max((one.number for one in there), default=0)
        new = Held(path.name, number, made.size, holds=holds)
        gone += self._remove(directory, surplus([*left, new], self._settings.storage.backup_keep))
        return msgspec.structs.replace(made, removed=[one.name for one in gone])

    def _from_before(self, there: list[Held]) -> list[Held]:
        """Those from before the database was first rebuilt, until a person has looked and removed what was set aside.

        What took its place may lack what these hold.
        """
        aside = damaged_ones(database_file(self._settings))
        if not aside:
            return []
        return from_before(there, self._settings.storage.backup_keep, time_word(aside[0][0]))

    def _write(
        self, path: Path, taken: Snapshot, key: ArchiveKey | None, holds: Holds, progress: Progress
    ) -> Made:
        identity = self._identity()
        made_at = self._clock.wall_ns()
        header = Header(
            FORMAT, "node", identity.node_id if identity else "", identity.name if identity else self._settings.name, made_at, __version__,
            taken.schema, holds,
        )  # fmt: skip
        written = write_archive(
            path, header, taken.members(), key=key, disk=self._disk, progress=progress
        )
        records = sum(taken.records.values())
        return Made(
            str(path), written.size, made_at, holds, written.contents.size, records, len(taken.files),
            [] if key is None else key.opened_by,
        )  # fmt: skip

    def _database(self) -> Path:
        database = database_file(self._settings)
        if not database.is_file():
            raise Refused(
                f"cannot back up {self._data_dir}: there is no {database.name}. Name its directory (--data-dir), or start it once."
            )
        return database

    @contextlib.contextmanager
    def _snapshot(self, holds: Holds) -> Iterator[tuple[Snapshot, ArchiveKey | None]]:
        database = self._database()
        staging = self._data_dir / _STAGING
        try:
            with locked(self._data_dir / LOCK_FILE):
                shutil.rmtree(staging, ignore_errors=True)
                try:
                    yield self._taken(database, staging, holds)
                finally:
                    shutil.rmtree(staging, ignore_errors=True)
        except LockHeld as error:
            raise Refused(
                f"cannot make a backup: process {error.holder} is making one already"
            ) from error

    def _taken(
        self, database: Path, staging: Path, holds: Holds
    ) -> tuple[Snapshot, ArchiveKey | None]:
        self._leave_room(self._data_dir, database.stat().st_size)
        ring = self._ring()
        try:
            taken = take(self._data_dir, database, staging, holds)
        except Corrupt as error:
            raise DatabaseDamaged(str(error)) from error
        self._disk.point("backup.copied")
        # Proxies are the environment's of this machine, and may have passwords in them.
        settings = msgspec.structs.replace(self._settings, proxies=DIRECT)
        small = {**taken.small, SETTINGS: to_bytes(settings)}
        wrappings: list[Wrapping] = []
        cipher: Cipher = NullCipher()
        if ring is not None and (after := self._ring()) is not None:
            keys = _all_keys(ring, after)
            cipher = _of_store(keys)
            small[KEYS] = msgspec.msgpack.encode(keys)
            wrappings.append(by_ring(after))
        if problem := integrity_problem(staging / DATABASE, cipher):
            raise DatabaseDamaged(f"cannot back up {database}: it is damaged: {problem}")
        if self._passphrase is not None:
            wrappings.append(by_passphrase(self._passphrase))
        key = new_key(wrappings) if wrappings else None
        if key is not None:  # who has a backup that is not sealed must not become the node
            small |= _proofs(self._data_dir)
        return msgspec.structs.replace(taken, small=small), key

    def _ring(self) -> KeyRing | None:
        if not any((self._data_dir / name).exists() for name in _RINGS):
            return None
        from skerry.kit.sealing.key_ring import unlocked_ring  # noqa: PLC0415 - only where there is one
        from skerry.kit.sealing.keys import Rule  # noqa: PLC0415

        where = Surroundings(self._data_dir, self._settings.credentials, self._kek)
        return unlocked_ring(Rule(0.0, "AES-256-GCM"), where, self._disk, self._clock)

    def _make_room(
        self, directory: Path, size: int, room: int | None, there: list[Held]
    ) -> list[Held]:
        lack = size + SPARE - self._disk.free_bytes(directory)
        if room is not None and directory.is_relative_to(self._data_dir):
            lack = max(lack, size - room)
        if lack <= 0:
            return []
        gone = to_make_room(there, lack)
        if not gone:
            raise Refused(
                f"cannot make a backup: {directory} has no room for {format_size(size)}. Free some, or set "
                "storage.backup_path or storage.backup_keep."
            )
        return self._remove(directory, gone)

    def _leave_room(self, directory: Path, size: int) -> None:
        if self._disk.free_bytes(directory) < size + SPARE:
            raise Refused(
                f"cannot make a backup: {directory} has no room for {format_size(size)}. Free some, or choose another place."
            )

    def _remove(self, directory: Path, which: list[Held]) -> list[Held]:
        for one in which:
            self._disk.unlink("backup.rotate", directory / one.name)
        return which

    def _identity(self) -> Identity | None:
        return read_identity(self._data_dir)


def recovery_passphrase(settings: NodeSettings) -> bytes | None:
    """The one in the file that the settings name. Raises Refused when it cannot be read, or others can."""
    path = settings.storage.backup_passphrase
    return None if path is None else read_secret(path)


def _with_kind(directory: Path, one: Held) -> Held:
    """What cannot be read is a kind of its own, which nothing new is of."""
    try:
        holds = Archive(directory / one.name).header.holds
    except (SkerryError, OSError):
        holds = ""
    return msgspec.structs.replace(one, holds=holds)


def _proofs(data_dir: Path) -> dict[str, bytes]:
    """What the node proves itself by, and whom it believes."""
    names = [SECRET_FILE, *(f"{TRUST}/{name}" for name in (OWN_FILE, ROOTS_FILE))]
    return {name: (data_dir / name).read_bytes() for name in names if (data_dir / name).is_file()}


def _all_keys(before: KeyRing, after: KeyRing) -> Keys:
    """A rotation may have happened meanwhile: what was copied may be sealed with either's keys."""
    known = {key.id for key in after.keys.keys}
    retired = [
        msgspec.structs.replace(key, retired=True)
        for key in before.keys.keys
        if key.id not in known
    ]
    plain = before.keys.plain or after.keys.plain
    return msgspec.structs.replace(after.keys, keys=[*after.keys.keys, *retired], plain=plain)


def _of_store(keys: Keys) -> Cipher:
    from skerry.kit.sealing.sealed import SealingCipher, in_force  # noqa: PLC0415 - as above

    return SealingCipher(in_force(keys.of_class("store"), None, plain=keys.plain))
