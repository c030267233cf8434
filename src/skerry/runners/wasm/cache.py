"""Compiled modules on the disk, so that a start costs milliseconds and not a compilation.

Loading one runs native code, so nobody but the runner may write it: the directory belongs to one workload, is
closed to others (0700) and is none that the module sees. A digest before the code finds what the disk has
damaged; wasmtime itself refuses what another version or configuration of it has compiled. It has no key: who can
write here can read any key that the runner could read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from skerry.kit.disk import Disk

_DIGEST = 32


class CompileCache:
    """One compiled module at a time: a new one replaces the old. A cache that cannot be used is left out."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk

    def read(self, key: str) -> bytes | None:
        """The compiled module, as it was put; None when there is none that can be trusted."""
        if not self._is_private():
            return None
        try:
            stored = self._path(key).read_bytes()
        except OSError:
            return None
        compiled = stored[_DIGEST:]
        return compiled if hashlib.sha256(compiled).digest() == stored[:_DIGEST] else None

    def put(self, key: str, compiled: bytes) -> None:
        """Keeps `compiled`. Raises OSError."""
        if not self._is_private():
            return
        stored = hashlib.sha256(compiled).digest() + compiled
        self._disk.write_atomic("wasm.cache", self._path(key), stored)
        for other in self._directory.iterdir():
            if other != self._path(key):
                other.unlink(missing_ok=True)

    def _is_private(self) -> bool:
        try:
            found = self._directory.lstat()
        except OSError:
            return False
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        return is_ours and not found.st_mode & 0o077

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.cwasm"
