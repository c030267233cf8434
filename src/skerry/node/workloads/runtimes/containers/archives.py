"""Archives of images: files that people have written with «docker save» or «podman save»."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from skerry.kit.errors import InvalidInput

_CHUNK = 1 << 20


def opened(archive: Path) -> BinaryIO:
    """The file. Raises InvalidInput where it is no regular one, OSError."""
    fd = os.open(archive, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would be waited for
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidInput(
            f"cannot load {archive}: it is no regular file. Name the archive itself."
        )
    return os.fdopen(fd, "rb")


async def chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    """Its content. Raises OSError."""
    while chunk := await asyncio.to_thread(file.read, _CHUNK):
        yield chunk
