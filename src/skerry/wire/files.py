"""Files: what workloads upload. A file is a record of kind «file» and the bytes that its value names.

See docs/reference/files.md for people and programs, docs/adr/0010 for the reasons.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line
from skerry.wire.records import Meta

MAX_FILE = 8 * 1024**3
"""Bytes of one file: its manifest must fit a request."""

MAX_ASKED = 1000
"""Files of one `FilesHeld`."""

_REFERENCE = re.compile(r"sha256:([0-9a-f]{64}):(\d{1,15})")

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]


class FileRef(msgspec.Struct, frozen=True):
    """The content of a file: its SHA-256 (64 lower-case hex digits) and its size in bytes."""

    sha256: str
    size: int

    def __str__(self) -> str:
        """The value of the file's record."""
        return f"sha256:{self.sha256}:{self.size}"


def read_reference(value: object) -> FileRef:
    """The content that a record of kind «file» names. Raises InvalidInput."""
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        shown = one_line(str(value))[:80]
        raise InvalidInput(f"«{shown}» names no file's content: write sha256:HEX:SIZE")
    return FileRef(found[1], int(found[2]))


class StoredFile(msgspec.Struct, frozen=True):
    """The node's answer when it has the bytes: durable, and what their name says."""

    sha256: str
    size: int


class FileChunk(msgspec.Struct, frozen=True, array_like=True):
    """A run of a file's bytes."""

    sha256: Sha256
    size: Annotated[int, msgspec.Meta(ge=1, le=1024 * 1024)]


class FileManifest(msgspec.Struct, frozen=True):
    """What a file consists of, in order. A file without bytes has no chunks."""

    sha256: Sha256
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_FILE)]
    chunks: list[FileChunk]


class FileState(msgspec.Struct, frozen=True):
    """How much of a file the hub has. Bytes `start` to before `end` are to be sent next; `manifest`: it is needed first."""

    sha256: str
    complete: bool
    start: int = 0
    end: int = 0
    manifest: bool = False


class FilesHeld(msgspec.Struct, frozen=True):
    """SHA-256s: those that a node asks about, or those of them that the hub has whole."""

    files: Annotated[list[Sha256], msgspec.Meta(max_length=MAX_ASKED)]


class FileView(msgspec.Struct, frozen=True):
    """A file at the hub. Times are ns since 1970; `arrived`: bytes that the hub has; `complete`: it can be downloaded."""

    name: str
    node: str
    source: str
    at: int
    received_at: int
    sha256: str
    size: int
    arrived: int
    complete: bool
    meta: Meta


class FileList(msgspec.Struct, frozen=True):
    """The newest matching files, oldest first. `truncated`: there are more."""

    files: list[FileView]
    truncated: bool = False


class FilesWaiting(msgspec.Struct, frozen=True):
    """Files on a node that the hub does not have yet, and why they are not sent."""

    count: int
    size: int
    used: int
    limit: int
    problem: str = ""
