"""What the node writes outside its data directory, noted there before it is written: at its erasure these files go, too."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from pathlib import Path

from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput
from skerry.wire.codec import decode, encode

FILE = "outside.json"

_Ledger = dict[str, str]
"""By path, the SHA-256 of what is the node's only as long as nobody has written there since; empty: the file is. Of a link its target."""

_LINK = "link "


class Outside:
    """The files of the node in `data_dir`, whatever thread writes them. Built once."""

    def __init__(self, data_dir: Path, disk: Disk) -> None:
        self._file = data_dir.absolute() / FILE
        self._disk = disk
        self._lock = threading.Lock()
        self._known = _read(self._file)

    def note(self, path: Path, copied: bytes | None = None) -> None:
        """That file is going to be written; `copied`: with content that is somebody's else. Raises OSError."""
        self._note(path, "" if copied is None else hashlib.sha256(copied).hexdigest())

    def note_link(self, path: Path, target: Path) -> None:
        """A link is going to be made there. Raises OSError."""
        self._note(path, f"{_LINK}{target}")

    def _note(self, path: Path, what: str) -> None:
        # Where it is itself: a home that is reached by a link is nobody's trick, a link that comes later may be.
        name = str(path.parent.resolve() / path.name)
        with self._lock:
            if self._known.get(name) != what:
                known = {**self._known, name: what}
                self._disk.write_atomic("outside.note", self._file, encode(known))
                self._known = known


def written_outside(data_dir: Path) -> tuple[list[Path], list[Path]]:
    """The files that are there still and are the node's own, and those that it has copied and nobody has changed."""
    own: list[Path] = []
    copies: list[Path] = []
    for name, digest in _read(data_dir / FILE).items():
        path = Path(name)
        if digest.startswith(_LINK):
            if path.is_symlink() and str(path.readlink()) == digest.removeprefix(_LINK):
                own.append(path)
            continue
        draft = path.with_name(f"{path.name}.new")
        if _is_there(draft):
            own.append(draft)  # of a node that was killed over it
        if _is_there(path) and (not digest or _digest_of(path) == digest):
            (copies if digest else own).append(path)
    return own, copies


def out_of_reach(data_dir: Path) -> list[str]:
    """What is there by its name and is not erased, because it is behind a link or no file any more: in words."""
    return [
        f"{name}: behind a link, or no file any more: look whether it is this node's, and remove it"
        for name, digest in _read(data_dir / FILE).items()
        if not digest.startswith(_LINK) and os.path.lexists(name) and not _is_there(Path(name))
    ]


def _is_there(path: Path) -> bool:
    """Nothing behind a link, and no directory that somebody has made in its place."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and path.parent.resolve() == path.parent
    except OSError:
        return False


def _digest_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _read(file: Path) -> _Ledger:
    try:
        return decode(file.read_bytes(), _Ledger, f"file {file}")
    except (OSError, InvalidInput):
        return {}
