"""The directory in which workers look for models: theirs to write in, as the SDK itself fetches weights that the node does not have.

What the node has is shown in it, read-only: mounted into a container, as links for a process. The workers may put anything
there, so nothing behind a link is touched, and what stands in a model's place gives way.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from skerry.kit.disk import Disk
from skerry.kit.flattening import flatten

MANIFEST = "manifest.json"
"""The documented index of models."""

Owner = tuple[int, int]


def mounted(place: Path, names: Collection[str], owner: Owner | None, disk: Disk) -> None:
    """Makes the place of each of these models, and of their manifest. `owner`: None leaves all of it as it is made. Raises OSError."""
    _make(place, owner, disk)
    _clear(place, keep=())
    for name in names:
        path = place / name
        if not _is(path, stat.S_ISDIR):
            path.unlink(missing_ok=True)
            path.mkdir()
            _own(path, owner)
    manifest = place / MANIFEST
    if not names and not _is(manifest, stat.S_ISDIR):
        manifest.unlink(missing_ok=True)
    if names and not _is(manifest, stat.S_ISREG):
        _remove(manifest)
        os.close(os.open(manifest, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))


def linked(place: Path, names: Collection[str], view: Path | None, disk: Disk) -> None:
    """Links these models of a `view`; None: there are none. Raises OSError."""
    _make(place, None, disk)
    links = {name: view / name for name in (*names, MANIFEST)} if view else {}
    _clear(place, keep=links.items())
    for name, target in links.items():
        path = place / name
        if path.is_symlink():
            continue
        _remove(path)
        path.symlink_to(target)


def _make(place: Path, owner: Owner | None, disk: Disk) -> None:
    if not place.is_dir():
        disk.make_directory("worker.models", place)
    _own(place, owner)


def _remove(path: Path) -> None:
    """Whatever it is, and nothing that it leads to."""
    if _is(path, stat.S_ISDIR):
        flatten(path)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _own(path: Path, owner: Owner | None) -> None:
    if owner is not None:
        os.chown(path, *owner, follow_symlinks=False)


def _clear(place: Path, keep: Collection[tuple[str, Path]]) -> None:
    """Removes links of other models, or of other versions."""
    for path in place.iterdir():
        if path.is_symlink() and (path.name, path.readlink()) not in keep:
            path.unlink()


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.lstat().st_mode)
    except FileNotFoundError:
        return False
