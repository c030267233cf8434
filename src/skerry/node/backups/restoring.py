"""Restores a node from a backup where no agent runs: verified first, extracted beside, and only then put in place.

What is there already is set aside, never deleted. The marker file `restore.unfinished` keeps an agent from starting
on half of a restore. The restored store is another history: it takes a new incarnation when it is opened, so no record
number is ever given to other content in the old one's name.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from skerry.kit.archive.format import Contents, Progress
from skerry.kit.archive.reading import Archive
from skerry.kit.archive.wrapping import ArchiveKey, unwrap
from skerry.kit.clock import NS, Clock
from skerry.kit.disk import Disk, sync_directory
from skerry.kit.errors import Corrupt, InvalidInput, Refused
from skerry.kit.file_lock import Held, locked
from skerry.kit.sealing.cipher import Cipher, NullCipher
from skerry.kit.sealing.format import is_sealed
from skerry.kit.sealing.key_ring import unlocked_ring
from skerry.kit.sealing.keys import Keys, Rule
from skerry.kit.sealing.ring_file import RingFile, Unlocked
from skerry.kit.sealing.sealed import SealingCipher, in_force
from skerry.kit.sealing.sources import Surroundings, make, obtain, parse, words
from skerry.kit.sqlite import StateTooNew, read_migrations
from skerry.node.backups.left_behind import left_behind
from skerry.node.backups.newest_trust import keep_newest
from skerry.node.backups.place import database_file
from skerry.node.backups.snapshot import DATABASE, FILES, KEYS, RECORDS, SETTINGS, Holds
from skerry.node.identity import IDENTITY_FILE, SECRET_FILE, Identity, read_identity
from skerry.node.node_settings import NodeSettings, from_bytes
from skerry.node.store.encryption import keys_in_use, keys_of_files
from skerry.node.store.opening import (
    LOCK_FILE,
    MIGRATIONS,
    UNFINISHED,
    integrity_problem,
)
from skerry.node.store.rebuilding import REBUILDING, note_rebuilt
from skerry.node.store.replacing import BESIDE
from skerry.node.trust.files import DIRECTORY as TRUST
from skerry.node.trust.files import OWN_FILE, TrustFiles

_STAGING = "restore.new"
_PIECE = 1024 * 1024
_RINGS = ("keys.json", "keys.copy.json")
_CONTENT = (RECORDS, FILES)
_DATA = (*_CONTENT, IDENTITY_FILE, SECRET_FILE, TRUST, *_RINGS)
"""What makes a directory one with data, beside the database."""


class Restored(msgspec.Struct, frozen=True):
    """What was put where. `replaced` is where the former content is; empty: there was none.

    `kept` says that the directory's own records and files stayed, `left_behind` how many records are only in `replaced`.
    `keyless`: nothing is there by which the hub would know this node.
    """

    data_dir: str
    name: str
    id: str
    made_at: int
    holds: Holds
    records: int
    files: int
    sealed_by: str
    replaced: str
    kept: bool = False
    left_behind: int = 0
    keyless: bool = False


class Keeping(msgspec.Struct, frozen=True):
    """What a person has to open a backup with, beside what the machine has itself."""

    kek: bytes | None = None
    passphrase: bytes | None = None


def open_backup(
    path: Path, settings: NodeSettings, keeping: Keeping
) -> tuple[Archive, ArchiveKey | None]:
    """A node's backup and its key. Raises Corrupt, or Refused: wrong key, a hub's backup, a newer Skerry's."""
    try:
        archive = Archive(path)
    except OSError as error:
        raise Refused(f"cannot read the backup {path}: {error.strerror}") from error
    if archive.header.what != "node":
        raise Refused(f"cannot restore {path} here: it is a {archive.header.what}'s backup")
    where = Surroundings(settings.data_dir.absolute(), settings.credentials)
    key = unwrap(
        archive.header,
        partial(obtain, where=where),
        kek=keeping.kek,
        passphrase=keeping.passphrase,
    )
    return archive, key


class Restorer:
    """Restores into the data directory of `settings`. Every call blocks."""

    def __init__(self, settings: NodeSettings, disk: Disk, clock: Clock) -> None:
        self._settings = settings
        self._data_dir = settings.data_dir.absolute()
        self._database = database_file(settings)
        self._disk = disk
        self._clock = clock

    def restore(
        self,
        archive: Archive,
        key: ArchiveKey | None,
        *,
        replace: bool,
        progress: Progress = lambda _: None,
    ) -> Restored:
        """Restores; what is there is set aside if `replace` says so. This node's records stay beside a mere database.

        Raises Refused (an agent runs, there is data, the keys cannot be sealed), Corrupt, StateTooNew, OSError; until
        everything is verified and extracted, nothing that is there is touched.
        """
        data_dir = self._data_dir
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(data_dir):
            there = _data_in(data_dir, self._database)
            if there and not replace:
                raise Refused(
                    f"cannot restore into {data_dir}: there is data ({', '.join(path.name for path in there[:3])}). "
                    "Give another --data-dir, or --replace: then what is there is set aside."
                )
            staging = data_dir / _STAGING
            shutil.rmtree(staging, ignore_errors=True)
            try:
                archive.verify(key, progress)
                contents = archive.extract(key, staging, self._disk, progress=progress)
                keys = _keys(staging)
                self._prepare(staging / DATABASE, archive, _cipher(keys))
                own = bool(there) and _is_own(data_dir, archive)
                stay = False
                if own and archive.header.holds == "database":
                    keys = _with_own(keys, self._settings, self._disk, self._clock)
                    stay = _opens_all(data_dir, self._database, keys)
                unlocked = None if keys is None else self._sealed_here(keys, staging)
                if own and (staging / TRUST).exists():
                    self._keep_newest_trust(staging, keys)
                if own:
                    # A backup that is not sealed has no proofs: the node goes on by what it has.
                    there = [path for path in there if not _is_only_here(path, staging)]
                aside = self._put_in_place(staging, there, unlocked, own=own, stay=stay)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        left = 0
        if aside is not None:
            left = left_behind(aside, aside / self._database.name, data_dir if own else None)
        told = _told(archive, contents, data_dir, aside, unlocked)
        identity = read_identity(data_dir)
        keyless = identity is not None and not (data_dir / _proof(identity)).exists()
        return msgspec.structs.replace(told, kept=stay, left_behind=left, keyless=keyless)

    def _prepare(self, database: Path, archive: Archive, cipher: Cipher) -> None:
        """Checks the database and makes it another history."""
        known = len(read_migrations(MIGRATIONS))
        if archive.header.schema > known:
            raise StateTooNew(
                f"cannot restore {archive.path}: schema {archive.header.schema}, this build knows {known}. "
                "Install the newer Skerry."
            )
        if problem := integrity_problem(database, cipher):
            raise Corrupt(f"cannot restore {archive.path}: its database is damaged: {problem}")
        with contextlib.closing(sqlite3.connect(database)) as db, db:
            db.execute("DELETE FROM fact WHERE name = 'incarnation'")
            db.execute("DELETE FROM lane")
            made_at = archive.header.made_at
            note_rebuilt(db, "restored by hand", str(archive.path), made_at, self._clock)

    def _keep_newest_trust(self, staging: Path, keys: Keys | None) -> None:
        sealed_with = _own_keys(self._settings, self._disk, self._clock)
        keep_newest(
            TrustFiles(self._data_dir, self._disk, _cipher(sealed_with)),
            TrustFiles(staging, self._disk, _cipher(keys)),
        )

    def _sealed_here(self, keys: Keys, staging: Path) -> Unlocked:
        """The backup's data keys under the KEK that this directory is to have: as it is set here, else as it was there."""
        wish = self._settings.encryption.storage
        if not wish.enabled:
            wish = from_bytes((staging / SETTINGS).read_bytes()).encryption.storage
        where = Surroundings(self._data_dir, self._settings.credentials)
        source, kek = make(parse(wish.key), where, self._disk)
        return Unlocked(source, kek, keys)

    def _put_in_place(
        self,
        staging: Path,
        there: Sequence[Path],
        unlocked: Unlocked | None,
        *,
        own: bool,
        stay: bool,
    ) -> Path | None:
        data_dir, disk = self._data_dir, self._disk
        disk.write_atomic("restore.begin", data_dir / UNFINISHED, b"")
        aside = self._set_aside(there, own=own, stay=stay)
        if unlocked is not None:
            RingFile(data_dir, disk).write(unlocked)
        for path in sorted(staging.iterdir()):
            if path.name != DATABASE:
                path.replace(_target(data_dir, path.name))
        disk.point("restore.half")
        self._database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._move(staging / DATABASE, self._database)
        sync_directory(data_dir)
        disk.unlink("restore.end", data_dir / UNFINISHED)
        sync_directory(data_dir)
        return aside

    def _set_aside(self, there: Sequence[Path], *, own: bool, stay: bool) -> Path | None:
        if not there:
            return None
        at = datetime.datetime.fromtimestamp(self._clock.wall_ns() / NS, datetime.UTC)
        aside = self._data_dir / f"replaced-{at:%Y%m%dT%H%M%S%f}Z"
        aside.mkdir(mode=0o700)
        for path in there:
            # What stays is sealed with these keys, too; by its identity a try after this one knows its own node.
            if (stay and path.name in _RINGS) or (own and path.name == IDENTITY_FILE):
                _copy(self._disk, path, aside / path.name)
            elif not stay or path.name not in _CONTENT:
                self._move(path, aside / path.name)
        sync_directory(aside)
        return aside

    def _move(self, path: Path, target: Path) -> None:
        """As a rename, also to another file system: `path` goes when all of it is durable at `target`."""
        disk = self._disk
        try:
            disk.rename("restore.move", path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            return
        if path.is_dir():
            disk.make_directory("restore.directory", target)
            for one in sorted(path.iterdir()):
                self._move(one, target / one.name)
            path.rmdir()
            return
        copy = target.with_name(f"{target.name}.new")
        disk.unlink("restore.copy", copy)
        _copy(disk, path, copy)
        disk.rename("restore.copied", copy, target)
        disk.unlink("restore.moved", path)


def _copy(disk: Disk, path: Path, target: Path) -> None:
    fd = disk.open_append("restore.copy", target)
    try:
        with path.open("rb") as file:
            while data := file.read(_PIECE):
                disk.append("restore.copy", fd, data)
        disk.sync("restore.copy", fd)
    finally:
        os.close(fd)


def _locked(data_dir: Path) -> contextlib.AbstractContextManager[None]:
    @contextlib.contextmanager
    def ours() -> Iterator[None]:
        try:
            with locked(data_dir / LOCK_FILE):
                yield
        except Held as error:
            raise Refused(
                f"cannot restore into {data_dir}: its node runs (process {error.holder}). Stop it first: "
                f"skerry node stop --data-dir {data_dir}"
            ) from error

    return ours()


def _data_in(data_dir: Path, database: Path) -> list[Path]:
    suffixes = ("", *BESIDE, REBUILDING)
    beside = [database.with_name(database.name + suffix) for suffix in suffixes]
    return [path for path in (*beside, *(data_dir / name for name in _DATA)) if path.exists()]


def _keys(staging: Path) -> Keys | None:
    path = staging / KEYS
    if not path.exists():
        return None
    found = msgspec.msgpack.decode(path.read_bytes(), type=Keys)
    path.unlink()
    return found


def _is_own(data_dir: Path, archive: Archive) -> bool:
    try:
        identity = read_identity(data_dir)
    except InvalidInput:
        return False
    return archive.header.id == ("" if identity is None else identity.node_id)


def _proof(identity: Identity) -> str:
    """What the hub knows the node by."""
    return TRUST if identity.certificate else SECRET_FILE


def _is_only_here(path: Path, staging: Path) -> bool:
    """Whether it proves this node, and the backup has none. What is sealed does not open without its keys, which go."""
    file = path / OWN_FILE if path.name == TRUST else path
    if path.name not in {TRUST, SECRET_FILE} or (staging / path.name).exists():
        return False
    return not (file.exists() and is_sealed(file.read_bytes()))


def _own_keys(settings: NodeSettings, disk: Disk, clock: Clock) -> Keys | None:
    """Those that are here and can be had."""
    where = Surroundings(settings.data_dir.absolute(), settings.credentials)
    if not any((where.data_dir / name).exists() for name in _RINGS):
        return None
    try:
        return unlocked_ring(Rule(0.0, "AES-256-GCM"), where, disk, clock).keys
    except Refused:
        return None


def _with_own(keys: Keys | None, settings: NodeSettings, disk: Disk, clock: Clock) -> Keys | None:
    """The backup's keys and those that are here, which are newer: what stays may be sealed with any of them."""
    here = None if keys is None else _own_keys(settings, disk, clock)
    if keys is None or here is None:
        return keys
    known = {key.id for key in here.keys}
    old = [
        msgspec.structs.replace(each, retired=True) for each in keys.keys if each.id not in known
    ]
    return msgspec.structs.replace(
        here,
        generation=here.generation + 1,
        keys=[*here.keys, *old],
        plain=here.plain or keys.plain,
    )


def _opens_all(data_dir: Path, database: Path, keys: Keys | None) -> bool:
    """Whether what is here opens with these keys; without any, whether nothing is sealed."""
    named = set(keys_in_use(data_dir, database))
    if keys is None:
        return not named
    if not keys.plain:
        named |= set(keys_of_files(data_dir))
    return named <= {key.id for key in keys.keys}


def _cipher(keys: Keys | None) -> Cipher:
    if keys is None:
        return NullCipher()
    return SealingCipher(in_force(keys.of_class("store"), None, plain=keys.plain))


def _target(data_dir: Path, name: str) -> Path:
    """What a person has written here for this restore holds."""
    target = data_dir / name
    return data_dir / f"{name}.from-backup" if name == "node.yaml" and target.exists() else target


def _told(
    archive: Archive,
    contents: Contents,
    data_dir: Path,
    aside: Path | None,
    unlocked: Unlocked | None,
) -> Restored:
    header = archive.header
    sizes = [entry.size for entry in contents.entries if entry.name.startswith(f"{RECORDS}/")]
    files = [entry for entry in contents.entries if entry.name.startswith(f"{FILES}/")]
    return Restored(
        str(data_dir), header.name, header.id, header.made_at, msgspec.convert(header.holds, Holds), sum(sizes), len(files),
        "" if unlocked is None else words(unlocked.source, Surroundings(data_dir, None)),
        "" if aside is None else str(aside),
    )  # fmt: skip
