"""The key of secrets for a hub without encryption at rest: a file of its own, never in the database or a backup.

Where encryption at rest is on, the values are sealed as all bodies are, and there is no such file (ADR 27).
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Refused

KEY_FILE = Path("trust", "secrets.key")
"""In the data directory."""

_KEY, _ID, _NONCE = 32, 8, 12


class Safe:
    """Locks values with the key in `path`, which is made with the first one. Used by one thread, the database's writer, and readers."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk

    def lock(self, value: bytes, purpose: bytes) -> bytes:
        """What `open` gives back for the same purpose only. Raises Refused, OSError."""
        key, nonce = self._key() or self._new_key(), os.urandom(_NONCE)
        return _id_of(key) + nonce + AESGCM(key).encrypt(nonce, value, purpose)

    def open(self, locked: bytes, purpose: bytes) -> bytes:
        """The inverse of `lock`. Raises Corrupt, also when this hub does not have the key."""
        key = self._key()
        if key is None or _id_of(key) != locked[:_ID]:
            raise Corrupt(f"it was locked with another key than that in {self._path}")
        nonce, sealed = locked[_ID : _ID + _NONCE], locked[_ID + _NONCE :]
        try:
            return AESGCM(key).decrypt(nonce, sealed, purpose)
        except (InvalidTag, ValueError) as error:
            raise Corrupt("it is not what was locked there") from error

    def _key(self) -> bytes | None:
        try:
            mode, key = stat.S_IMODE(self._path.stat().st_mode), self._path.read_bytes()
        except FileNotFoundError:
            return None
        if mode & 0o077:
            raise Refused(
                f"cannot use {self._path}: it may be read by others. Run: chmod 600 {self._path}"
            )
        if len(key) != _KEY:
            raise Refused(
                f"cannot use {self._path}: it is no key. Put it back, or remove it and set every secret again."
            )
        return key

    def _new_key(self) -> bytes:
        key = os.urandom(_KEY)
        self._disk.make_directory("secrets.directory", self._path.parent)
        self._disk.write_atomic("secrets.key", self._path, key)
        return key


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_ID]
