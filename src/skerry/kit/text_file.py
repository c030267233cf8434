"""Reading files that people wrote: bounded, UTF-8, with errors in one sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from skerry.kit.errors import InvalidInput
from skerry.kit.units import format_size

MAX_BYTES = 1 << 20


def read_text(path: Path) -> str:
    """The text of `path`. Raises InvalidInput when it cannot be read, is over 1 MiB or is no UTF-8."""
    try:
        with path.open("rb") as file:
            return read_stream(file, str(path))
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error


def read_stream(file: BinaryIO, name: str) -> str:
    """As `read_text`, from an open file or pipe; at most one byte too many is taken from it."""
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        size = file.seek(0, os.SEEK_END) if file.seekable() else 0  # 0 of an endless device, too
        has = f"{format_size(size)} is" if size else "it has"
        raise InvalidInput(f"cannot read {name}: {has} more than a file may have (1 MiB)")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(
            f"cannot read {name}: line {line} is not UTF-8 text. Is the file binary?"
        ) from error
