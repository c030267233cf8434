"""The bytes of a backup archive. Pure: streams of bytes in, values out; `writing` and `reading` have the files.

    «SKBACKUP» | length 4 | crc32 4 | header (JSON) | body | SHA-256 of everything before

The body is a stream of members through zstd and, where the header has wraps, sealed in segments (`kit.sealing.stream`)
bound to the header. A member is its name, its content in blocks, and its SHA-256; the last frame lists them all:

    M length name | D length bytes | … | E sha256 | M … | Z length contents (JSON)
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Protocol

import msgspec

from skerry.kit.archive.rotation import What
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing.sources import Source

FORMAT = 1
MAGIC = b"SKBACKUP"
DIGEST = 32
BLOCK = 128 * 1024
"""Most bytes of a block, and of what is read or held at once."""

_LARGEST_HEADER = 1024 * 1024
_LARGEST_CONTENTS = 256 * 1024 * 1024
_LARGEST_NAME = 4096
_NUMBER = struct.Struct(">I")
_START = struct.Struct(">8sII")

Progress = Callable[[int], None]
"""Is told bytes, as they are written or read."""


class Wrap(msgspec.Struct, frozen=True, omit_defaults=True):
    """The archive's own key, sealed by something that can be had again: a directory's KEK, or a recovery passphrase.

    `source` is how the KEK is got (None: by the passphrase, with `salt`); `check` tells a wrong one from damage.
    """

    check: str
    sealed: bytes
    source: Source | None = None
    salt: bytes = b""


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """What can be read without any key. `made_at` is wall ns; `schema` is that of the database in it.

    `holds` says in a word of the writer's what kind of backup it is. Without `wraps` it is not encrypted.
    """

    format: int
    what: What
    id: str
    name: str
    made_at: int
    version: str
    schema: int
    holds: str
    wraps: list[Wrap] = []

    @property
    def sealed(self) -> bool:
        """Whether it is encrypted."""
        return bool(self.wraps)


class Entry(msgspec.Struct, frozen=True):
    """One member: its name, bytes, and SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class Contents(msgspec.Struct, frozen=True):
    """All members, in the order in which they lie in the archive."""

    entries: list[Entry]

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(entry.size for entry in self.entries)


class Member(msgspec.Struct, frozen=True):
    """Something to go into an archive. `content` is asked for when its turn has come."""

    name: str
    content: Iterable[bytes]


class Readable(Protocol):
    """A stream: at most `size` bytes, none at its end."""

    def read(self, size: int) -> bytes: ...


def encode_header(header: Header) -> bytes:
    """The bytes that an archive begins with."""
    text = msgspec.json.encode(header)
    return _START.pack(MAGIC, len(text), zlib.crc32(text)) + text


def read_header(file: Readable) -> tuple[Header, bytes]:
    """The header, and the bytes that it took. Raises Corrupt, or Refused when a newer Skerry wrote it."""
    start = file.read(_START.size)
    if len(start) < _START.size:
        raise Corrupt("it is too short to be a backup")
    magic, length, checksum = _START.unpack(start)
    if magic != MAGIC or length > _LARGEST_HEADER:
        raise Corrupt("it is no backup of Skerry's")
    text = file.read(length)
    if zlib.crc32(text) != checksum:
        raise Corrupt("its header is not what was written")
    try:
        version = msgspec.json.decode(text, type=_Version).format
        if version > FORMAT:
            raise Refused(f"it has format {version}, this build knows {FORMAT}")
        return msgspec.json.decode(text, type=Header), start + text
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt("its header is not what was written") from error


def frames(members: Iterable[Member]) -> Iterator[bytes]:
    """The body's plain form. Raises ValueError for a name that could not be extracted."""
    entries: list[Entry] = []
    for member in members:
        name = checked_name(member.name).encode()
        digest, size = hashlib.sha256(name + b"\0"), 0
        yield b"M" + _NUMBER.pack(len(name)) + name
        for piece in member.content:
            for start in range(0, len(piece), BLOCK):
                block = piece[start : start + BLOCK]
                digest.update(block)
                size += len(block)
                yield b"D" + _NUMBER.pack(len(block)) + block
        yield b"E" + digest.digest()
        entries.append(Entry(member.name, size, digest.hexdigest()))
    contents = msgspec.json.encode(Contents(entries))
    yield b"Z" + _NUMBER.pack(len(contents)) + contents


def checked_name(name: str) -> str:
    """A member's name: relative, inside, in one spelling. Raises ValueError."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
        raise ValueError(f"cannot keep «{name}» in a backup: not a plain relative path")
    return name


class Frames:
    """Reads the body's plain form: member by member, and then what the archive says that it has."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._entries: list[Entry] = []
        self.contents: Contents | None = None
        """Set when the end was reached and everything was as it says."""

    def members(self) -> Iterator[Member]:
        """Each member's content must be read before the next one is asked for. Raises Corrupt."""
        while (mark := self._exactly(1)) == b"M":
            name = self._exactly(self._number(_LARGEST_NAME))
            yield Member(self._name(name), self._content(name))
        if mark != b"Z":
            raise Corrupt("its members are not where they should be")
        self._end(self._exactly(self._number(_LARGEST_CONTENTS)))

    def _name(self, name: bytes) -> str:
        try:
            return checked_name(name.decode())
        except (UnicodeDecodeError, ValueError) as error:
            raise Corrupt("a member's name is not what was written") from error

    def _content(self, name: bytes) -> Iterator[bytes]:
        digest, size = hashlib.sha256(name + b"\0"), 0
        while (mark := self._exactly(1)) == b"D":
            block = self._exactly(self._number(BLOCK))
            digest.update(block)
            size += len(block)
            yield block
        if mark != b"E" or self._exactly(DIGEST) != digest.digest():
            raise Corrupt(f"its member «{name.decode()}» is not what was written")
        self._entries.append(Entry(name.decode(), size, digest.hexdigest()))

    def _end(self, said: bytes) -> None:
        try:
            contents = msgspec.json.decode(said, type=Contents)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corrupt("its list of members is not what was written") from error
        if contents.entries != self._entries or self._stream.read(1):
            raise Corrupt("its members are not those that it lists")
        self.contents = contents

    def _number(self, most: int) -> int:
        number = int(_NUMBER.unpack(self._exactly(_NUMBER.size))[0])
        if number > most:
            raise Corrupt("its members are not where they should be")
        return number

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            piece = self._stream.read(size - len(parts))
            if not piece:
                raise Corrupt("it ends early")
            parts += piece
        return bytes(parts)


class _Version(msgspec.Struct):
    format: int
