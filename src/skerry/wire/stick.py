"""What lies on a stick that carries a node's data to its hub by hand, and how the file is framed. See docs/adr/0016.

    SKERRY-STICK | H header | B block | B block | … | L last block            each: kind 1, size 4, content

The header is JSON in the clear: it says only whose file this is. A block is a `Block` in MessagePack under zstd, sealed
(`core.stick_seal`); the last one says what was in all of them. Each file stands for itself. On the node's socket the
same frames come with P (progress) and X (why it ended) between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, BinaryIO, Literal

import msgspec

from skerry.kit.errors import Corrupt, InvalidInput
from skerry.wire.codec import compress, decode, decompress, encode
from skerry.wire.files import FileManifest, Sha256
from skerry.wire.sync import Lane, LanePoint, StateRow

MAGIC = b"SKERRY-STICK\n"
FORMAT = 1
"""Of header, blocks and receipts; a hub takes all up to its own."""

DATA_SUFFIX, RECEIPT_SUFFIX, PART_SUFFIX = ".stick", ".receipt", ".part"
HEADER, BLOCK, LAST, PROGRESS, PROBLEM = b"H", b"B", b"L", b"P", b"X"
MAX_FRAME = 16 * 1024 * 1024
FRAME_HEAD = 5

_Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f\-]{1,64}$(?!\n)")]
_Kind = Literal["data", "receipt"]


class StickHeader(msgspec.Struct, frozen=True):
    """Whose file this is. `id` is new for each file; `export` for each export, of which this is file `part` (1, 2, …)."""

    format: int
    kind: _Kind
    node: _Id
    hub: _Id
    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
    export: _Id
    part: int
    made_at: int


class Piece(msgspec.Struct, frozen=True):
    """Bytes of a file from `start` on."""

    sha256: Sha256
    start: int
    data: bytes


class Contents(msgspec.Struct, frozen=True):
    """What the file holds: for each lane the numbers of its records, and the files of which it has something.

    `after` is where the node began: what it took for acknowledged.
    """

    incarnation: str
    lanes: dict[Lane, tuple[int, int]]
    after: dict[Lane, LanePoint]
    files: list[Sha256]
    records: int


class Block(msgspec.Struct, frozen=True):
    """One of these: a unit as it would be pushed (JSON of `sync.PushUnit`), a manifest, a piece, or the contents."""

    unit: bytes = b""
    manifest: FileManifest | None = None
    piece: Piece | None = None
    contents: Contents | None = None


class BlockTaken(msgspec.Struct, frozen=True):
    """The hub's answer to one block, after its commit. `new` of its `records` were not there before.

    `problem` says why it was not taken; `receipt` (a whole file) is the answer to the last block.
    """

    records: int = 0
    new: int = 0
    files: int = 0
    problem: str = ""
    node: str = ""
    receipt: bytes = b""


class Receipt(msgspec.Struct, frozen=True):
    """What the hub durably holds, for the node alone: its points of this incarnation, its state rows, whole files.

    `stick` is the id of the file that was taken; `after` is what that file began after.
    """

    stick: str
    incarnation: str
    hub_time: int
    lanes: dict[Lane, LanePoint]
    after: dict[Lane, LanePoint]
    rows: list[StateRow]
    files: list[str]
    whole: bool
    """Everything in the file has been taken."""


class ReceiptTaken(msgspec.Struct, frozen=True):
    """What a node has learned from a receipt: so many records and files are acknowledged that were not before.

    `note` says what else follows; `done`: the file that it is for need not be kept.
    """

    records: int = 0
    files: int = 0
    note: str = ""
    done: bool = False


class Progress(msgspec.Struct, frozen=True):
    """How far an export is: records and bytes of files, of so many. At its end `complete` says whether all fitted."""

    records: int
    of_records: int
    bytes: int
    of_bytes: int
    ended: bool = False
    complete: bool = False


def frame(kind: bytes, content: bytes) -> bytes:
    """One frame."""
    return kind + len(content).to_bytes(4, "big") + content


def split(data: bytearray) -> tuple[bytes, bytes] | None:
    """Takes the first whole frame out of `data`; None: there is none yet. Raises Corrupt."""
    if len(data) < FRAME_HEAD:
        return None
    size = int.from_bytes(data[1:FRAME_HEAD], "big")
    if size > MAX_FRAME:
        raise Corrupt("a block says to be larger than any is")
    if len(data) < FRAME_HEAD + size:
        return None
    found = bytes(data[:1]), bytes(data[FRAME_HEAD : FRAME_HEAD + size])
    del data[: FRAME_HEAD + size]
    return found


def read_frames(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The frames of a file after its first line. Raises Corrupt where it is not one, or ends early; OSError."""
    if file.read(len(MAGIC)) != MAGIC:
        raise Corrupt("it is no file of Skerry's")
    while head := file.read(FRAME_HEAD):
        size = int.from_bytes(head[1:], "big") if len(head) == FRAME_HEAD else MAX_FRAME + 1
        content = file.read(size) if size <= MAX_FRAME else b""
        if len(content) != size:
            raise Corrupt("it is damaged or ends early")
        yield head[:1], content
        if head[:1] == LAST:
            return
    raise Corrupt("it ends early")


def read_header(content: bytes) -> StickHeader:
    """The header in its frame. Raises InvalidInput, also when a newer Skerry has written it."""
    header = decode(content, StickHeader, "the file's header")
    if not 1 <= header.format <= FORMAT:
        raise InvalidInput(
            f"it has format {header.format}, and this Skerry reads formats up to {FORMAT}: update it first"
        )
    return header


def pack(block: Block) -> bytes:
    """A block before it is sealed."""
    return compress(msgspec.msgpack.encode(block))


def unpack(data: bytes) -> Block:
    """The inverse of `pack`. Raises InvalidInput."""
    try:
        return msgspec.msgpack.decode(decompress(data, "the block"), type=Block)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("cannot read the block: another version of Skerry wrote it") from error


def whole_file(header: StickHeader, sealed: bytes) -> bytes:
    """A file of one block."""
    return MAGIC + frame(HEADER, encode(header)) + frame(LAST, sealed)
