"""The blobs of a backup: copied once, by the SHA-256 of the bytes as they lie in the hub's directory, sealed or not.

    NAME.blobs/ab/cdef…       bytes of a blob; a hard link where that is possible, for blobs never change
    NAME.blobs/index.json     what was seen last, so that it is not read again; without it everything is
    NAME.blobs/ARCHIVE.list   the copies that an archive needs, as the archive itself says, too

Copies that no archive needs any more go. Blobs in a bucket are not copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from skerry.kit.disk import Disk, sync_directory
from skerry.kit.errors import Corrupt

KINDS = ("blobs", "files")
"""The directories in the hub's data directory that hold blobs."""

SEALED = ".sealed"
"""Ends the name of a blob that the hub has sealed (`store.sealed_blobs`); other names with a suffix are unfinished."""

_INDEX = "index.json"
_LIST = ".list"
_NEW = ".new"
_PROBE = ".link"


class Copied(msgspec.Struct, frozen=True):
    """A blob: its place below the data directory, and the size and SHA-256 of the bytes that lie there.

    The patterns keep a forged archive from writing, or reading copies, anywhere else.
    """

    place: Annotated[
        str, msgspec.Meta(pattern=r"\A(blobs|files)/[0-9a-f]{2}/[0-9a-f]{62}(\.sealed)?\Z")
    ]
    size: int
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class _Seen(msgspec.Struct, frozen=True):
    size: int
    changed: int
    inode: int
    sha256: str


class BlobCopies:
    """The copies in `directory`. Every call blocks and may raise OSError."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk

    def wanted(self, data_dir: Path) -> int:
        """Bytes that `take` would write."""
        seen = self._read_index()
        fresh = [path for path, place in _blobs(data_dir) if _same(path, seen.get(place)) is None]
        if not fresh or self._links(fresh[0]):
            return 0
        return sum(path.stat().st_size for path in fresh)

    def take(self, data_dir: Path, archive: str) -> list[Copied]:
        """Copies what is not here yet, durably, for the archive of that name; returns all blobs of the data directory."""
        before, seen, copied = self._read_index(), dict[str, _Seen](), []
        directories: set[Path] = set()
        for path, place in _blobs(data_dir):
            with contextlib.suppress(FileNotFoundError):  # nobody names it any more
                found = _same(path, before.get(place)) or _look(path)
                target = self._path(found.sha256)
                if not target.exists():
                    directories |= self._copy(path, target, found.sha256)
                seen[place] = found
                copied.append(Copied(place, found.size, found.sha256))
        for directory in sorted(directories, reverse=True):
            sync_directory(directory)
        if copied or self._directory.is_dir():
            self._directory.mkdir(mode=0o700, exist_ok=True)
            self._write(_INDEX, msgspec.json.encode(seen))
            self._write(archive + _LIST, "\n".join(each.sha256 for each in copied).encode())
        return copied

    def missing(self, copied: Iterable[Copied]) -> list[Copied]:
        """Those whose bytes are not here as they were."""
        return [each for each in copied if not self._is_whole(each)]

    def put_back(self, copied: Iterable[Copied], data_dir: Path) -> int:
        """Puts those into the data directory that it lacks or has otherwise, durably; returns how many.

        What lies there is read: it may be damaged, or sealed by a key that the restored database does not have.
        """
        count = 0
        for each in copied:
            target = data_dir / each.place
            if _is(target, each):
                continue
            for directory in (target.parent.parent, target.parent):
                directory.mkdir(mode=0o700, exist_ok=True)
                sync_directory(directory.parent)
            new = target.with_name(target.name + _NEW)
            new.unlink(missing_ok=True)
            _copy_file(self._path(each.sha256), new)
            self._disk.rename("copies.restore", new, target)
            count += 1
        return count

    def sweep(self, archives: Collection[str]) -> None:
        """Removes the copies that none of these archives needs."""
        lists = {path.name.removesuffix(_LIST): path for path in self._directory.glob(f"*{_LIST}")}
        needed: set[str] = set()
        for archive, path in lists.items():
            if archive in archives:
                needed.update(path.read_text().split())
            else:
                self._disk.unlink("copies.sweep", path)
        for path in self._directory.glob("??/*"):
            if path.parent.name + path.name not in needed:
                self._disk.unlink("copies.sweep", path)

    def _write(self, name: str, data: bytes) -> None:
        self._disk.write_atomic("copies.write", self._directory / name, data)

    def _copy(self, path: Path, target: Path, sha256: str) -> set[Path]:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = target.with_name(target.name + _NEW)
        new.unlink(missing_ok=True)
        try:
            os.link(path, new)
        except FileNotFoundError:
            raise
        except OSError:
            _copy_file(path, new)
            if _look(new).sha256 != sha256:
                new.unlink()
                raise Corrupt(f"cannot back up {path}: it changes, or its disk fails") from None
        new.replace(target)
        return {target.parent, self._directory, self._directory.parent}

    def _links(self, blob: Path) -> bool:
        """Tried, because nothing tells: not the same device, seen through two mounts, nor the kind of file system."""
        probe = self._directory.with_name(self._directory.name + _PROBE)
        probe.unlink(missing_ok=True)
        try:
            os.link(blob, probe)
        except OSError:
            return False
        finally:
            probe.unlink(missing_ok=True)
        return True

    def _is_whole(self, each: Copied) -> bool:
        return _is(self._path(each.sha256), each)

    def _path(self, sha256: str) -> Path:
        return self._directory / sha256[:2] / sha256[2:]

    def _read_index(self) -> dict[str, _Seen]:
        try:
            found = (self._directory / _INDEX).read_bytes()
            return msgspec.json.decode(found, type=dict[str, _Seen])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}


def _blobs(data_dir: Path) -> Iterable[tuple[Path, str]]:
    for kind in KINDS:
        for path in sorted((data_dir / kind).glob("??/*")):
            if path.suffix in {"", SEALED}:
                yield path, str(path.relative_to(data_dir))


def _same(path: Path, seen: _Seen | None) -> _Seen | None:
    """What was seen, if that is still what is there."""
    found = path.stat()
    now = (found.st_size, found.st_mtime_ns, found.st_ino)
    return seen if seen is not None and (seen.size, seen.changed, seen.inode) == now else None


def _look(path: Path) -> _Seen:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return _Seen(found.st_size, found.st_mtime_ns, found.st_ino, sha256)


def _is(path: Path, each: Copied) -> bool:
    """Whether those bytes are there; a wrong size saves reading them."""
    try:
        return path.stat().st_size == each.size and _look(path).sha256 == each.sha256
    except FileNotFoundError:
        return False


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as file, target.open("xb") as copy:
        os.fchmod(copy.fileno(), 0o600)
        shutil.copyfileobj(file, copy, 1024 * 1024)
        copy.flush()
        os.fsync(copy.fileno())
