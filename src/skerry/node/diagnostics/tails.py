"""The last lines of logs, bounded, and of nothing but plain files: a link or pipe in a log's place is not followed."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from skerry.kit.errors import Refused

MOST_LINES = 2_000
MOST_BYTES = 1 << 20
_ROTATED = 20
_JOURNAL_SECONDS = 20.0


def last_lines(path: Path, most_bytes: int = MOST_BYTES, most_lines: int = MOST_LINES) -> bytes:
    """Whole lines of a log and of what it was before its last rotations. Raises OSError, Refused."""
    newest = _tail(path, most_bytes, most_lines)
    pieces, size, lines = [newest], len(newest), newest.count(b"\n")
    for older in _before(path):
        if size >= most_bytes or lines >= most_lines:
            break
        piece = _tail(older, most_bytes - size, most_lines - lines)
        pieces.append(piece)
        size, lines = size + len(piece), lines + piece.count(b"\n")
        if size < older.stat().st_size:
            break
    return b"".join(reversed(pieces))


def _before(path: Path) -> Iterator[Path]:
    for number in range(1, _ROTATED):
        older = path.with_name(f"{path.name}.{number}")
        if not older.exists():
            return
        yield older


def _tail(path: Path, most_bytes: int, most_lines: int) -> bytes:
    """A line that is cut off at either end is left out: a part of a secret would not be known as one."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise Refused(f"cannot read {path}: it is no plain file")
        start = max(found.st_size - most_bytes, 0)
        data = os.pread(fd, most_bytes, start)
    finally:
        os.close(fd)
    if start:
        data = data.partition(b"\n")[2]
    whole = data[: data.rfind(b"\n") + 1]
    return b"".join(whole.splitlines(keepends=True)[-most_lines:]) if b"\n" in whole else b""


def journal(unit: str, most_bytes: int = MOST_BYTES, most_lines: int = MOST_LINES) -> bytes:
    """The last lines that systemd's journal has of a unit. Raises OSError, also where there is no journal, and Refused."""
    words = ["journalctl", "--quiet", "--no-pager", "--output", "short-iso-precise"]
    words += ["--lines", str(most_lines), "--unit", unit]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:  # fmt: skip
        overdue = threading.Timer(_JOURNAL_SECONDS, reader.kill)
        overdue.start()
        data, cut = b"", False
        while reader.stdout is not None and (piece := reader.stdout.read(65536)):
            data += piece
            cut = cut or len(data) > most_bytes
            data = data[-most_bytes:]
        overdue.cancel()
    if reader.returncode:
        raise Refused(f"cannot read the journal of {unit}: journalctl ended with {reader.returncode}")  # fmt: skip
    return data.partition(b"\n")[2] if cut else data
