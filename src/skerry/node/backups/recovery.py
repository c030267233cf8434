"""The newest good backup of a database that was damaged, put in its place. Loaded only when that has happened.

A backup that does not open or is damaged itself is passed over, for the one before it; what cannot be read or written
now, on a full disk or a share that is not mounted, is no reason to go without. What was sealed with keys that
have been destroyed since is sealed again with those in force: the backup carries its own.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import sqlite3
from functools import partial
from pathlib import Path

import msgspec

from skerry.kit.archive.reading import Archive
from skerry.kit.archive.rotation import held
from skerry.kit.archive.wrapping import unwrap
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing.cipher import Cipher, NullCipher
from skerry.kit.sealing.keys import Keys
from skerry.kit.sealing.sealed import SealingCipher, in_force
from skerry.kit.sealing.sources import Surroundings, obtain
from skerry.kit.sqlite import read_migrations
from skerry.kit.sqlite_connections import classify
from skerry.node.backups.making import recovery_passphrase
from skerry.node.backups.place import NEWEST, backup_directory, owner_of
from skerry.node.backups.snapshot import DATABASE, KEYS
from skerry.node.identity import read_identity
from skerry.node.node_settings import NodeSettings
from skerry.node.store.bodies import reseal_some
from skerry.node.store.encryption import Encryption
from skerry.node.store.opening import MIGRATIONS, integrity_problem
from skerry.node.store.rebuilding import Recovered

_STAGING = "recover.new"
_AT_ONCE = 500

log = logging.getLogger(__name__)


def recover(
    settings: NodeSettings, disk: Disk, database: Path, encryption: Encryption
) -> Recovered | None:
    """Puts the newest good backup's database at `database`, where nothing is. None: there is none.

    Raises OSError or Transient when that may be otherwise later, and Refused when the backups are out of reach.
    """
    directory = backup_directory(settings)
    if directory == settings.storage.backup_path and not directory.is_dir():
        raise Refused(_out_of_reach(directory, "storage.backup_path is not there"))
    identity = read_identity(settings.data_dir)
    node_id = identity.node_id if identity else ""
    there = held(
        "node", owner_of(settings, identity), ((path.name, 0) for path in directory.glob("node-*"))
    )
    if not there and (known := _newest(settings)).parent == settings.storage.backup_path:
        gone = f"{known.name} is not in it. To go on without it remove {settings.data_dir / NEWEST}"
        raise Refused(_out_of_reach(directory, gone))
    passphrase = _passphrase(settings)
    unreadable: OSError | None = None
    for one in reversed(there):
        path = directory / one.name
        try:
            archive = Archive(path)
            if archive.header.id == node_id:
                _put(archive, settings, disk, database, encryption, passphrase)
                return Recovered(str(path), archive.header.made_at)
        except (Corrupt, Refused) as error:
            log.warning("cannot rebuild the database from %s: %s", path, error)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            unreadable = error  # a bad sector, or a share that is away: then so are the others
            log.warning("cannot rebuild the database from %s: %s", path, error)
    if unreadable is not None:
        raise unreadable
    return None


def _passphrase(settings: NodeSettings) -> bytes | None:
    try:
        return recovery_passphrase(settings)
    except Refused as error:
        log.warning("%s. The node's own key opens its backups, too", error)
        return None


def _newest(settings: NodeSettings) -> Path:
    try:
        return Path((settings.data_dir / NEWEST).read_text())
    except FileNotFoundError:
        return Path()


def _out_of_reach(directory: Path, why: str) -> str:
    return (
        f"cannot rebuild the database from a backup in {directory}: {why}. Is the stick or share mounted? Nothing was "
        "touched, and workloads go on."
    )


def _put(
    archive: Archive,
    settings: NodeSettings,
    disk: Disk,
    database: Path,
    encryption: Encryption,
    passphrase: bytes | None,
) -> None:
    where = Surroundings(settings.data_dir.absolute(), settings.credentials)
    ring = encryption.ring
    key = unwrap(
        archive.header,
        partial(obtain, where=where),
        kek=None if ring is None else ring.kek,
        passphrase=passphrase,
    )
    staging = database.with_name(_STAGING)
    shutil.rmtree(staging, ignore_errors=True)
    try:
        wanted = {DATABASE, KEYS}
        archive.extract(key, staging, disk, wanted=wanted.__contains__)
        if archive.header.schema > len(read_migrations(MIGRATIONS)):
            raise Refused(f"it has schema {archive.header.schema}, which is newer than this build")
        cipher = _combined(_keys(staging / KEYS), encryption)
        if problem := integrity_problem(staging / DATABASE, cipher):
            raise Corrupt(f"its database is damaged: {problem}")
        if cipher.seals:
            try:
                _reseal(staging / DATABASE, cipher)
            except sqlite3.Error as error:
                raise classify(error, staging / DATABASE) from error
        disk.rename("recover.put", staging / DATABASE, database)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _keys(path: Path) -> Keys | None:
    return msgspec.msgpack.decode(path.read_bytes(), type=Keys) if path.exists() else None


def _combined(backup: Keys | None, encryption: Encryption) -> Cipher:
    """Opens what the backup holds, and seals with the key that is in force now."""
    ring = encryption.ring
    if ring is None:
        return NullCipher()
    now = ring.keys.of_class("store")
    known = {key.id for key in now}
    others = [] if backup is None else backup.of_class("store")
    old = [msgspec.structs.replace(key, retired=True) for key in others if key.id not in known]
    plain = backup is None or backup.plain
    return SealingCipher(in_force([*old, *now], ring.cipher("store").now, plain=plain))


def _reseal(database: Path, cipher: Cipher) -> None:
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.row_factory = sqlite3.Row
        while True:
            with db:
                if not reseal_some(db, cipher, _AT_ONCE):
                    break
        db.execute("VACUUM")
