"""`keys.json`: all data keys in one piece, sealed by the key-encryption key, and a copy of it beside it.

A change is first in the file, then in the copy, and only then in use: whichever of the two is whole after a crash or
a bad sector has every key that anything was sealed with. While a passphrase is being changed, both open it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from skerry.kit.disk import Disk
from skerry.kit.errors import Refused
from skerry.kit.sealing.keys import Keys
from skerry.kit.sealing.sealed import KeyInUse, aead
from skerry.kit.sealing.sources import Source, fingerprint

RING_FILE = "keys.json"
COPY_FILE = "keys.copy.json"
UNCOUNTED_FILE = "keys.uncounted"
FORMAT = 1

_WORDS = ("keys.json", "keys", str(FORMAT))
_COMING = ("keys.json", "kek", str(FORMAT))


class Successor(msgspec.Struct, frozen=True):
    """The keys again, sealed by the KEK that is to come; `kek` is that one, sealed by the present one."""

    source: Source
    check: str
    sealed: bytes
    kek: bytes


class Written(msgspec.Struct, frozen=True, omit_defaults=True):
    """The file. `check` is the KEK's fingerprint."""

    version: int
    source: Source
    check: str
    sealed: bytes
    successor: Successor | None = None


class Coming(msgspec.Struct, frozen=True):
    """A KEK that takes over as soon as the ring was opened with it."""

    source: Source
    kek: bytes


class Unlocked(msgspec.Struct, frozen=True):
    """The file with its KEK. `takes_over`: it is the one that was to come, and the file still knows the former."""

    source: Source
    kek: bytes
    keys: Keys
    coming: Coming | None = None
    takes_over: bool = False


class RingFile:
    """The two files in `directory`."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self.path = directory / RING_FILE
        self._copy = directory / COPY_FILE
        self._disk = disk

    @property
    def exists(self) -> bool:
        """Whether there is a ring, whole or not."""
        return self.path.exists() or self._copy.exists()

    def candidates(self) -> list[Written]:
        """Those of the two files that can be read, the first one first. Raises Refused when there is none."""
        found = [written for path in (self.path, self._copy) if (written := _read(path))]
        if not found:
            raise Refused(
                f"cannot read {self.path} nor its copy: they are damaged. Nothing was touched: put one of them back, "
                "or restore a backup, which has the keys: the data is sealed with them."
            )
        return found

    def write(self, unlocked: Unlocked) -> None:
        """Raises OSError: then it may have been written or not."""
        data = msgspec.json.encode(locked(unlocked))
        self._disk.write_atomic("keys.write", self.path, data)
        self._disk.write_atomic("keys.copy", self._copy, data)


class Uncounted:
    """How often messages were reserved since the ring was written last, on a disk that had no block for writing it.

    The number is the size of a file without content, which takes no block.
    """

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._path = directory / UNCOUNTED_FILE
        self._disk = disk

    @property
    def times(self) -> int:
        """As it is kept."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def keep(self, times: int) -> None:
        """Durable when this returns. Raises OSError."""
        there = self._path.exists()
        if there and times == self.times:
            return
        if not there:  # made while there is room for a name
            os.close(self._disk.open_append("keys.uncounted-open", self._path))
            self._disk.sync_directory("keys.uncounted-made", self._path.parent)
        self._disk.truncate("keys.uncounted", self._path, times)


def unlock(written: Written, kek: bytes) -> Unlocked | None:
    """None: it is not what was written. Raises Refused when that is not its KEK."""
    if written.check != fingerprint(kek):
        raise Refused(
            "cannot unlock the keys of this data directory: that is another key-encryption key than they are sealed "
            "with. Nothing was touched: give the right one (encryption.storage.key)."
        )
    keys = _keys(written.sealed, kek)
    coming = None if written.successor is None else _coming(written.successor, kek)
    if keys is None or (coming is None) != (written.successor is None):
        return None
    return Unlocked(written.source, kek, keys, coming)


def unlock_by_successor(written: Written, kek: bytes) -> Unlocked | None:
    """The same by the KEK that is to come. None: there is none, it is another, or it is not what was written."""
    successor = written.successor
    if successor is None or successor.check != fingerprint(kek):
        return None
    keys = _keys(successor.sealed, kek)
    return None if keys is None else Unlocked(successor.source, kek, keys, takes_over=True)


def locked(unlocked: Unlocked) -> Written:
    """The inverse of `unlock`."""
    source, kek, coming = unlocked.source, unlocked.kek, unlocked.coming
    successor = None if coming is None else _successor(coming, kek, unlocked.keys)
    return Written(FORMAT, source, fingerprint(kek), _sealed(unlocked.keys, kek), successor)


def _successor(coming: Coming, kek: bytes, keys: Keys) -> Successor:
    wrapped = _kek_in_use(kek).seal(coming.kek, _COMING)
    check, sealed = fingerprint(coming.kek), _sealed(keys, coming.kek)
    return Successor(coming.source, check, sealed, wrapped)


def _coming(successor: Successor, kek: bytes) -> Coming | None:
    found = _kek_in_use(kek).open(successor.kek, _COMING)
    return None if found is None else Coming(successor.source, found)


def _keys(sealed: bytes, kek: bytes) -> Keys | None:
    plain = _kek_in_use(kek).open(sealed, _WORDS)
    return None if plain is None else msgspec.msgpack.decode(plain, type=Keys)


def _sealed(keys: Keys, kek: bytes) -> bytes:
    return _kek_in_use(kek).seal(msgspec.msgpack.encode(keys), _WORDS)


def _kek_in_use(kek: bytes) -> KeyInUse:
    """A new object each time, so with a random prefix of its own: a ring is written some hundred times at most."""
    return KeyInUse(int(fingerprint(kek)[:8], 16), aead("AES-256-GCM", kek))


def _read(path: Path) -> Written | None:
    try:
        written = msgspec.json.decode(path.read_bytes(), type=Written)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    if written.version > FORMAT:
        raise Refused(
            f"cannot read {path}: format {written.version}, this build knows {FORMAT}. Install the newer Skerry again."
        )
    return written
