"""Backups of a node in a directory, their restore, and ways to damage a database."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from skerry.kit.clock import SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.node.backups.making import Made, Maker
from skerry.node.backups.restoring import Keeping, Restored, Restorer, open_backup
from skerry.node.node_settings import NodeSettings
from skerry.node.settings import find_settings, node_settings


def settings(directory: Path, *, on: bool = False, **given: str) -> NodeSettings:
    options = {"data_dir": str(directory), "name": "shed"} | (
        {"encryption.storage.enabled": "true"} if on else {}
    )
    found = find_settings(
        options=options | {f"storage.{k}": v for k, v in given.items()}, environment={}
    )
    return node_settings(found, {})


def maker(
    directory: Path, *, disk: Disk | None = None, recovery: bytes | None = None, **given: str
) -> Maker:
    return Maker(settings(directory, **given), disk or RealDisk(), SystemClock(), recovery)


def restored(
    made: Made | Path,
    into: Path,
    *,
    on: bool = False,
    keeping: Keeping = Keeping(),  # noqa: B008 - frozen
    replace: bool = False,
    disk: Disk | None = None,
) -> Restored:
    path = made if isinstance(made, Path) else Path(made.path)
    archive, key = open_backup(path, settings(into, on=on), keeping)
    restorer = Restorer(settings(into, on=on), disk or RealDisk(), SystemClock())
    return restorer.restore(archive, key, replace=replace)


def kek(directory: Path) -> Keeping:
    return Keeping(kek=bytes.fromhex((directory / "storage.key").read_text()))


PAGE = 4096


def noise_over_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2 * PAGE : 3 * PAGE] = random.Random(5).randbytes(PAGE)
    path.write_bytes(data)


def zeroed_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(PAGE))


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 3 // PAGE * PAGE + 100)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def removed(path: Path) -> None:
    path.unlink()


def damage(home: Path, how: Callable[[Path], None]) -> None:
    """Without the log, in which SQLite might still have the page."""
    for path in (home / "node.db-wal", home / "node.db-shm"):
        path.unlink(missing_ok=True)
    how(home / "node.db")
