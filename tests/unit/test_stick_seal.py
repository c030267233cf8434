"""A block of a stick opens where it was written and nowhere else; a receipt's lane is judged by what its file began after."""

from __future__ import annotations

import msgspec
import pytest

from skerry.core.credentials import secret_hash
from skerry.core.stick_seal import StickSeal
from skerry.kit.errors import Corrupt, InvalidInput
from skerry.node.sync.receipts import Verdict, judge
from skerry.wire.codec import encode
from skerry.wire.stick import (
    FORMAT,
    Block,
    StickHeader,
    frame,
    pack,
    read_header,
    split,
    unpack,
)
from skerry.wire.sync import LanePoint

HEADER = StickHeader(FORMAT, "data", "0a-1", "0b-2", "ab" * 16, "cd" * 16, 1, 5)
HASH = secret_hash("secret")


def seal_of(header: StickHeader = HEADER, of: str = HASH) -> StickSeal:
    return StickSeal(of, header, encode(header))


@pytest.mark.guarantee("G9")
@pytest.mark.guarantee("G10")
def test_a_block_opens_only_where_it_was_written() -> None:
    sealed = seal_of().seal(b"canary", 3, last=False)
    assert b"canary" not in sealed
    assert seal_of().open(sealed, 3, last=False) == b"canary"
    others = [
        (seal_of(), 4, False),
        (seal_of(), 3, True),
        (seal_of(of=secret_hash("other")), 3, False),
        *(
            (seal_of(msgspec.structs.replace(HEADER, **changed)), 3, False)  # type: ignore[arg-type]
            for changed in ({"kind": "receipt"}, {"id": "ac" * 16}, {"hub": "0b-3"}, {"part": 2})
        ),
    ]
    for seal, number, last in others:
        with pytest.raises(Corrupt):
            seal.open(sealed, number, last=last)
    with pytest.raises(Corrupt):
        seal_of().open(sealed[:-1] + bytes([sealed[-1] ^ 1]), 3, last=False)
    # Not by the header's hash alone: each direction has a key of its own.
    text = encode(HEADER)
    receipt = StickSeal(HASH, msgspec.structs.replace(HEADER, kind="receipt"), text)
    with pytest.raises(Corrupt):
        receipt.open(sealed, 3, last=False)


def test_frames_and_blocks() -> None:
    data = bytearray(frame(b"B", b"x" * 300) + b"L\0\0\0\1")
    assert split(data) == (b"B", b"x" * 300)
    assert split(data) is None
    data += b"y"
    assert split(data) == (b"L", b"y")
    with pytest.raises(Corrupt):
        split(bytearray(b"B\xff\xff\xff\xff"))
    assert unpack(pack(Block(unit=b"{}"))) == Block(unit=b"{}")
    with pytest.raises(InvalidInput):
        unpack(b"no zstd")
    with pytest.raises(InvalidInput, match="update it first"):
        read_header(encode(msgspec.structs.replace(HEADER, format=FORMAT + 1)))
    with pytest.raises(InvalidInput):
        read_header(encode(msgspec.structs.replace(HEADER, node="../../etc")))


def point(n: int, chain: str = "a") -> LanePoint:
    return LanePoint(n, chain * 16)


@pytest.mark.parametrize(
    ("hub", "began", "own", "chain", "verdict"),
    [
        (50, 10, 10, "a", "forward"),
        (50, 10, 50, "a", "known"),
        (30, 10, 50, "a", "known"),  # an old one
        (5, 10, 10, "a", "back"),
        (5, 10, 50, "a", "back"),
        (5, 10, 3, "a", "forward"),
        (50, 10, 10, "b", "other"),
        (50, 10, 10, None, "other"),  # inside a frame
        (101, 10, 10, None, "other"),  # more than there is
        (1, 10, 10, None, "back"),  # before the oldest that is here: nothing to compare
    ],
)
def test_what_a_receipt_says_about_a_lane(
    hub: int, began: int, own: int, chain: str | None, verdict: Verdict
) -> None:
    own_chain = None if chain is None else chain * 16
    found = judge(point(hub), point(began), point(own), base=2, head=100, chain=own_chain)
    assert found == verdict
