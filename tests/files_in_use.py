"""Files of a directory in which a program works: one may go while it is looked at."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def contents(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below it with what is in it, but for those that go meanwhile."""
    for path in _below(directory):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                yield path, path.read_bytes()


def blocks(directory: Path) -> int:
    """Bytes of the disk that everything below it takes."""
    taken = 0
    for path in _below(directory):
        with contextlib.suppress(FileNotFoundError):
            taken += path.lstat().st_blocks * 512
    return taken


def copy_tree(source: Path, target: Path) -> None:
    """Files only: sockets and pipes of a stopped node are not part of its store."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(
        source,
        target,
        ignore=lambda folder, names: [n for n in names if not _is_plain(Path(folder) / n)],
    )


def _below(directory: Path) -> Iterator[Path]:
    for folder, directories, files in os.walk(directory):  # which minds no directory that goes
        for name in (*directories, *files):
            yield Path(folder) / name


def _is_plain(path: Path) -> bool:
    return path.is_dir() or path.is_file()
