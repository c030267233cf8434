"""What is uploaded: a file's bytes, or bytes in memory, read as often as it takes."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from skerry.kit.errors import InvalidInput
from skerry.wire.files import FileRef
from skerry.wire.records import MAX_NAME

_PIECE = 1024 * 1024
_UNFIT = re.compile(r"[^A-Za-z0-9_.\-/]")


Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Callable[[], BinaryIO]
"""A file's path, bytes, or what opens the same bytes from their beginning each time."""


class Content:
    """`name` is for messages."""

    def __init__(self, source: Source) -> None:
        self._path = Path(source) if isinstance(source, str | os.PathLike) else None
        self._open = source if callable(source) else None
        self._data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else b""
        self.name = "bytes" if self._path is None else str(self._path)

    @property
    def file_name(self) -> str | None:
        """What the file is called; None: it has no name."""
        return None if self._path is None else self._path.name

    def open(self) -> BinaryIO:
        """From its beginning. Raises InvalidInput."""
        if self._open is not None:
            return self._open()
        if self._path is None:
            return io.BytesIO(self._data)
        try:
            return self._path.open("rb")
        except OSError as error:
            raise InvalidInput(f"cannot upload {self._path}: {error.strerror}") from error

    def reference(self) -> FileRef:
        """What it is now; reads all of it."""
        with self.open() as file:
            digest, size = hashlib.sha256(), 0
            try:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
            except OSError as error:
                raise InvalidInput(f"cannot upload {self.name}: {error.strerror}") from error
            return FileRef(digest.hexdigest(), size)


def fitting(name: str) -> str:
    """A file's name with «_» in place of what a record's name may not have."""
    found = _UNFIT.sub("_", name)[:MAX_NAME]
    return found if found[:1].isalnum() or found[:1] == "_" else f"_{found}"[:MAX_NAME]
