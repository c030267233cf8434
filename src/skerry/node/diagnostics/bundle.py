"""A diagnostics bundle: a tar in zstd, written as FILE.part and named when it is whole and durable."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import msgspec
import zstandard

from skerry.kit.disk import Disk
from skerry.kit.errors import Refused
from skerry.kit.units import format_size

PART = ".part"
MARGIN = 4 << 20
"""Bytes that stay free on the disk, beside what a bundle has at most."""

_LEVEL = 6


MANIFEST = "manifest.json"
"""The last member."""

_READ = 1 << 16


class Manifest(msgspec.Struct):
    """Of a bundle, what whoever receives it is told: sizes of its members, and why others are missing."""

    members: dict[str, int]
    missing: dict[str, str]


class Bundle:
    """Takes members one after the other; none of them stays in memory."""

    def __init__(self, tar: tarfile.TarFile, made_at: int) -> None:
        self._tar = tar
        self._made_at = made_at
        self.members: dict[str, int] = {}

    def add(self, name: str, data: bytes) -> None:
        """One member; `data` is what may be seen. Raises OSError."""
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = len(data), 0o600, self._made_at // 1_000_000_000
        self._tar.addfile(info, io.BytesIO(data))
        self.members[name] = len(data)

    def add_json(self, name: str, value: object) -> None:
        """One member for people and programs alike."""
        self.add(name, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def member_name(name: str) -> str:
    """A name from a disk as a part of a member's: without «/» and anything that a terminal or another system minds."""
    safe = quote(os.fsencode(name), safe=" ")
    return safe if safe.strip(".") else f"%2E{safe[1:]}"


@contextmanager
def written(path: Path, disk: Disk, made_at: int, most: int) -> Iterator[Bundle]:
    """A bundle that becomes the file `path` when the block ends well; else nothing is left. `most`: bytes it may need.

    Raises Refused, before anything is written, and OSError.
    """
    _refuse(path, disk, most)
    part = path.with_name(path.name + PART)
    disk.unlink("diagnostics.tidy", part)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        with os.fdopen(fd, "wb") as file:
            with packed(file, made_at) as bundle:
                yield bundle
            file.flush()
            disk.sync("diagnostics.sync", file.fileno())
        if path.exists():
            raise _taken(path)
        disk.rename("diagnostics.keep", part, path)
    finally:
        part.unlink(missing_ok=True)  # on a full disk it would only take room


@contextmanager
def packed(file: BinaryIO, made_at: int) -> Iterator[Bundle]:
    """A bundle that goes to `file`, in pieces; it is whole when the block has ended well. Raises OSError."""
    packer = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False)
    with packer, tarfile.open(fileobj=packer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        yield Bundle(tar, made_at)


def read_manifest(path: Path, most: int) -> Manifest:
    """What a bundle says of itself. Raises Refused when it is none, is not whole, or has more than `most` bytes unpacked."""
    found: dict[str, int] = {}
    said = b""
    try:
        _check_size(path, most)
        with (
            path.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|") as tar,
        ):
            for member in tar:
                found[member.name] = member.size
                content = tar.extractfile(member) if member.name == MANIFEST else None
                said = content.read() if content is not None else said
        manifest = msgspec.json.decode(said, type=Manifest)
    except (tarfile.TarError, zstandard.ZstdError, msgspec.MsgspecError, EOFError) as error:
        raise Refused(f"cannot use {path}: it is no whole bundle ({error})") from error
    if {**manifest.members, MANIFEST: found[MANIFEST]} != found:
        raise Refused(f"cannot use {path}: its members are not those that its manifest names")
    return msgspec.structs.replace(manifest, members=found)


def _check_size(path: Path, most: int) -> None:
    """Raises Refused, before much of it has been unpacked."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as unpacked:
        left = most
        while data := unpacked.read(_READ):
            left -= len(data)
            if left < 0:
                raise Refused(
                    f"cannot use {path}: unpacked it has more than {format_size(most)}, which no bundle has"
                )


def _refuse(path: Path, disk: Disk, most: int) -> None:
    if os.path.lexists(path):
        raise _taken(path)
    if not path.parent.is_dir():
        raise Refused(
            f"cannot write {path}: there is no directory {path.parent}. Is the stick or share mounted?"
        )
    free = disk.free_bytes(path.parent)
    if free < most + MARGIN:
        raise Refused(
            f"cannot write {path}: {format_size(free)} are free there, and it may need {format_size(most + MARGIN)}. "
            "Name a file on another disk, for example below /dev/shm."
        )


def _taken(path: Path) -> Refused:
    return Refused(f"cannot write {path}: it is there already. Give another name.")
