"""Encryption at rest of one data directory: its ciphers, or the reasons why the node must not start.

Everything here happens before the store is opened, and nothing is touched before the keys are there: a missing key
is no damage, and data under it is set aside by nobody. `kit.sealing` is loaded by nodes that encrypt.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Refused, SkerryError
from skerry.kit.sealing.cipher import Cipher, NullCipher
from skerry.kit.sealing.format import MARK as MARK_BYTES
from skerry.kit.sealing.format import is_sealed, key_id_of
from skerry.kit.sqlite_connections import Driver, connect, stdlib_driver
from skerry.node.node_settings import STORE_FILE
from skerry.node.store.bodies import BODIES, MARK
from skerry.node.store.files import FILES_DIRECTORY
from skerry.node.store.segments import frame_at

if TYPE_CHECKING:
    from skerry.kit.sealing.key_ring import KeyRing, Protection
    from skerry.kit.sealing.keys import DataClass
    from skerry.kit.sealing.sources import Surroundings

_RINGS = ("keys.json", "keys.copy.json")
_HEADER_READ = 65536
_HEAD_READ = len(MARK_BYTES) + 4


class Encryption(msgspec.Struct, frozen=True):
    """The ciphers of a data directory. Without a `ring` bodies are stored as they are."""

    ring: KeyRing | None = None

    @property
    def kek(self) -> bytes:
        """What the ring is sealed with now; empty without one."""
        return b"" if self.ring is None else self.ring.kek

    def cipher(self, of: DataClass) -> Cipher:
        """The cipher of one class of data."""
        return NullCipher() if self.ring is None else self.ring.cipher(of)


def open_encryption(
    wanted: Protection | None,
    where: Surroundings,
    disk: Disk,
    clock: Clock,
    *,
    database: Path | None = None,
    driver: Driver = stdlib_driver,
) -> Encryption:
    """The ciphers of a data directory; its database is `node.db` in there, if not `database`.

    Without `wanted` encryption is off. Call it with the directory's lock held. Raises Refused, having changed nothing.
    """
    database = database or where.data_dir / STORE_FILE
    if wanted is None:
        refuse_to_switch_off(where.data_dir, database, driver)
        return Encryption()
    from skerry.kit.sealing.key_ring import open_ring  # noqa: PLC0415 - with «cryptography» 7 MB

    data_dir = where.data_dir
    return Encryption(
        open_ring(
            wanted, where, disk, clock,
            in_use=lambda: keys_in_use(data_dir, database, driver),
            in_blobs=lambda: keys_of_files(data_dir),
        )
    )  # fmt: skip


def reading(where: Surroundings, wanted: Protection | None, disk: Disk, clock: Clock) -> Encryption:
    """The ciphers for looking into a directory without its node: nothing is written."""
    if wanted is None or not any((where.data_dir / name).exists() for name in _RINGS):
        return Encryption()
    from skerry.kit.sealing.key_ring import unlocked_ring  # noqa: PLC0415 - as above

    return Encryption(unlocked_ring(wanted.rule, where, disk, clock))


def refuse_to_switch_off(data_dir: Path, database: Path, driver: Driver = stdlib_driver) -> None:
    """A setting must not decrypt a disk. Raises Refused when something is sealed."""
    if any((data_dir / name).exists() for name in _RINGS) or holds_sealed(
        data_dir, database, driver
    ):
        raise Refused(
            f"cannot open {data_dir} with encryption switched off: its data is sealed. Nothing was touched. Set "
            "encryption.storage.enabled again, or begin with an empty data directory once the hub has everything."
        )


def holds_sealed(data_dir: Path, database: Path, driver: Driver = stdlib_driver) -> bool:
    """Whether something in there is sealed, as far as it tells without keys."""
    return _store_is_marked(database, driver) or any(
        _header_key(path) for path in data_dir.glob("records/*/*.seg")
    )


def keys_in_use(data_dir: Path, database: Path, driver: Driver = stdlib_driver) -> dict[int, int]:
    """Ids of keys that something in there names, and how often; a segment's header counts twice, for its checksum is right."""
    found = _named_in_store(database, driver)
    for path in data_dir.glob("records/*/*.seg"):
        id_ = _header_key(path)
        if id_:
            found[id_] += 2
    return found


def keys_of_files(data_dir: Path) -> dict[int, int]:
    """Ids of keys that the files of workloads name, and how many files begin with each."""
    from skerry.kit.sealing.stream import HEAD  # noqa: PLC0415 - only where encryption is on

    found: Counter[int] = Counter()
    for path in data_dir.glob(f"{FILES_DIRECTORY}/??/*"):
        if path.suffix:  # half a file, or a damaged one: they keep the names of keys that are gone
            continue
        with path.open("rb") as file:
            start = file.read(HEAD + _HEAD_READ)[HEAD:]
        if is_sealed(start):
            found[key_id_of(start)] += 1
    return found


def mark(db: sqlite3.Connection) -> None:
    """Notes in a database that it holds sealed bodies, and has what is deleted overwritten from now on."""
    db.execute("PRAGMA secure_delete = ON")
    db.execute(f"PRAGMA application_id = {MARK}")


def _store_is_marked(path: Path, driver: Driver) -> bool:
    if not path.exists():
        return False
    try:
        with contextlib.closing(connect(path, read_only=True, driver=driver)) as db:
            return bool(db.execute("PRAGMA application_id").fetchone()[0] == MARK)
    except (SkerryError, sqlite3.Error):
        return False


def _header_key(path: Path) -> int:
    """The key of a segment file's header; 0: it is plain or unreadable."""
    with path.open("rb") as file:
        frame = frame_at(file.read(_HEADER_READ), 0)
    return key_id_of(frame.payload) if frame and is_sealed(frame.payload) else 0


def _named_in_store(path: Path, driver: Driver) -> Counter[int]:
    found: Counter[int] = Counter()
    if not path.exists():
        return found
    try:
        with contextlib.closing(connect(path, read_only=True, driver=driver)) as db:
            for body in BODIES:
                head = f"substr({body.column}, 1, {len(MARK_BYTES) + 4})"
                rows = db.execute(f"SELECT {head}, count(*) FROM {body.table} GROUP BY 1")  # noqa: S608
                for start, times in rows:
                    if isinstance(start, bytes) and is_sealed(start):
                        found[key_id_of(start)] += times
    except (SkerryError, sqlite3.Error):
        return found  # damage, or a table that an older version did not have: opening the store says more
    return found
