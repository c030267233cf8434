"""`keys.json`: all data keys in one piece, sealed by the ring's own key, and a copy of it beside it.

The ring's own key lies in the file too, once for each key-encryption key that opens it: one, and two while a passphrase
is being changed. A change is first in the file, then in the copy, and only then in use: whichever of the two is whole
after a crash or a bad sector has every key that anything was sealed with.
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
FORMAT = 2

_WORDS = ("keys.json", "keys", str(FORMAT))
_SLOT_WORDS = ("keys.json", "slot", str(FORMAT))
_SECRET_BYTES = 32


class Slot(msgspec.Struct, frozen=True):
    """One key-encryption key that opens the ring: `check` is its fingerprint, `wrapped` the ring's own key under it."""

    source: Source
    check: str
    wrapped: bytes


class Written(msgspec.Struct, frozen=True):
    """The file. The first slot is in force; another one takes over as soon as it has opened the ring."""

    version: int
    slots: list[Slot]
    sealed: bytes


class Unlocked(msgspec.Struct, frozen=True):
    """The file, opened by `source` with its `kek`; `secret` is the ring's own key."""

    source: Source
    kek: bytes
    secret: bytes
    slots: tuple[Slot, ...]
    keys: Keys


class RingFile:
    """The two files in `directory`."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self.path = directory / RING_FILE
        self._copy = directory / COPY_FILE
        self.disk = disk

    @property
    def exists(self) -> bool:
        """Whether there is a ring, whole or not."""
        return self.path.exists() or self._copy.exists()

    def candidates(self) -> list[Written]:
        """Those of the two files that can be read, the first one first. Raises Refused when there is none."""
        found = [written for path in (self.path, self._copy) if (written := _read(path))]
        if not found:
            raise Refused(
                f"cannot read {self.path} nor its copy: they are damaged. Nothing was touched: put one of them back "
                "from a backup, the data is sealed with the keys in it."
            )
        return found

    def write(self, unlocked: Unlocked) -> None:
        """Raises OSError: then it may have been written or not."""
        data = msgspec.json.encode(
            Written(FORMAT, list(unlocked.slots), _sealed(unlocked.secret, unlocked.keys))
        )
        self.disk.write_atomic("keys.write", self.path, data)
        self.disk.write_atomic("keys.copy", self._copy, data)


def unlock(written: Written, slot: Slot, kek: bytes) -> Unlocked | None:
    """None: it is not what was written. Raises Refused when that is not the slot's KEK."""
    if slot.check != fingerprint(kek):
        raise Refused(
            "cannot unlock the keys of this data directory: that is another key-encryption key than they are sealed "
            "with. Nothing was touched: give the right one (encryption.storage.key)."
        )
    secret = _in_use(kek).open(slot.wrapped, _SLOT_WORDS)
    plain = None if secret is None else _in_use(secret).open(written.sealed, _WORDS)
    if secret is None or plain is None:
        return None
    keys = msgspec.msgpack.decode(plain, type=Keys)
    return Unlocked(slot.source, kek, secret, tuple(written.slots), keys)


def opened_by(source: Source, kek: bytes, keys: Keys) -> Unlocked:
    """A ring that only this KEK opens: its own key is a new one, so what knows a former KEK knows nothing of it."""
    secret = os.urandom(_SECRET_BYTES)
    return Unlocked(source, kek, secret, (_slot(source, kek, secret),), keys)


def opened_also_by(unlocked: Unlocked, source: Source, kek: bytes) -> Unlocked:
    """The ring with a second slot, in the place of any other second one."""
    slots = tuple(slot for slot in unlocked.slots if slot.source == unlocked.source)
    added = _slot(source, kek, unlocked.secret)
    return msgspec.structs.replace(unlocked, slots=(*slots, added))


def _slot(source: Source, kek: bytes, secret: bytes) -> Slot:
    return Slot(source, fingerprint(kek), _in_use(kek).seal(secret, _SLOT_WORDS))


def _sealed(secret: bytes, keys: Keys) -> bytes:
    return _in_use(secret).seal(msgspec.msgpack.encode(keys), _WORDS)


def _in_use(key: bytes) -> KeyInUse:
    """A new object each time, so with a random prefix of its own: a ring is written some hundred times at most."""
    return KeyInUse(int(fingerprint(key)[:8], 16), aead("AES-256-GCM", key))


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
