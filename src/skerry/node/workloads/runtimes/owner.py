"""By what a node tells its own containers from all others on the machine: a random mark in its data directory."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from skerry.kit.disk import Disk

FILE = "containers.json"


class _Owner(msgspec.Struct, frozen=True):
    mark: str
    directory: str


def owner_mark(data_dir: Path, disk: Disk, chance: random.Random) -> str:
    """The mark of the node in `data_dir`, made at the first call.

    A copy of the directory beside the original gets a mark of its own, a directory that was moved keeps its.
    """
    path, here = data_dir / FILE, str(data_dir.absolute())
    known = _read(path)
    if known is not None and (known.directory == here or not Path(known.directory).exists()):
        owner = _Owner(known.mark, here)
    else:
        owner = _Owner(f"{chance.getrandbits(128):032x}", here)
    if owner != known:
        disk.write_atomic("containers.owner", path, msgspec.json.encode(owner))
    return owner.mark


def known_mark(data_dir: Path) -> str:
    """The mark of the node in `data_dir`; empty: it has none."""
    known = _read(data_dir / FILE)
    return "" if known is None else known.mark


def _read(path: Path) -> _Owner | None:
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Owner)
    except msgspec.DecodeError:
        return None
