"""Which lost disk a backup outlives: the database's, and that of the files which only the hub and its backup still have.

Nodes forget what is in a backup (`ledger`), so `making` and `restoring` ask here what may be told of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL

from skerry.hub.backups.ledger import Point, without_files

_FILES = "files"
"""In the data directory; nodes do not have models, so only this one matters."""


class Apart(NamedTuple):
    """Whether a backup lies on another disk than the database, and than the files."""

    database: bool
    files: bool

    def counted(self, points: Sequence[Point]) -> list[Point]:
        """Those of a backup's points that nodes may rely on."""
        if not self.database:
            return []
        return list(points) if self.files else without_files(points)


@dataclass(frozen=True)
class Home:
    """Where a hub keeps what it backs up. `bucket` is the address of the blobs when they are not in the data directory.

    `vouched`: somebody says that the PostgreSQL is on another disk than the backups, which only they can know.
    """

    url: URL
    data_dir: Path
    bucket: str = ""
    vouched: bool = False

    def apart_from(self, backup: Path) -> Apart:
        """Of a backup that is there. One file system is one disk: links to a blob on it are the same bytes."""
        disk = backup.stat().st_dev
        files = bool(self.bucket) or _disk(self.data_dir / _FILES) != disk
        if self.url.get_backend_name() == "sqlite":
            return Apart(_disk(Path(self.url.database or "")) != disk, files)
        # A server here usually keeps its files on the disk that the data directory is on.
        return Apart(self.vouched or _disk(self.data_dir) != disk, files)


def _disk(path: Path) -> int:
    """Of what is not there, where it will be."""
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    return there.stat().st_dev
