"""Sealed streams: whole or not at all, in their order, in their place."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sealing_rig import key, sealing_cipher

from skerry.kit.errors import Corrupt
from skerry.kit.sealing.cipher import Place
from skerry.kit.sealing.format import OVERHEAD
from skerry.kit.sealing.stream import SEGMENT, open_stream, seal_stream

PLACE = Place("file", "content", ("sha256",))
WHOLE = SEGMENT + OVERHEAD


def sealed(content: bytes, place: Place = PLACE) -> bytes:
    return b"".join(seal_stream([content], sealing_cipher(key(1, "files")), place))


def opened(data: bytes, place: Place = PLACE) -> bytes:
    cipher = sealing_cipher(key(1, "files"), plain=True)
    return b"".join(open_stream([data], cipher, place))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3 * SEGMENT + 5), st.integers(1, 200_000), st.integers(1, 200_000))
def test_any_size_in_any_pieces(size: int, into: int, out_of: int) -> None:
    content = bytes(i % 251 for i in range(size))
    cipher = sealing_cipher(key(1, "files"))
    pieces = (content[i : i + into] for i in range(0, size, into))
    data = b"".join(seal_stream(pieces, cipher, PLACE))
    again = open_stream((data[i : i + out_of] for i in range(0, len(data), out_of)), cipher, PLACE)
    assert b"".join(again) == content


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT])
def test_every_cut_is_noticed(size: int) -> None:
    data = sealed(b"x" * size)
    assert opened(data) == b"x" * size
    for cut in {0, 1, 7, 8, 20, WHOLE, 8 + WHOLE, 8 + 2 * WHOLE, len(data) - 1} - {len(data)}:
        if cut < len(data):
            with pytest.raises(Corrupt):
                opened(data[:cut])
    with pytest.raises(Corrupt):
        opened(data + b"x")


def test_segments_belong_to_their_number_stream_and_place() -> None:
    first, second = sealed(b"a" * 3 * SEGMENT), sealed(b"b" * 3 * SEGMENT)
    swapped = (
        first[:8] + first[8 + WHOLE : 8 + 2 * WHOLE] + first[8 : 8 + WHOLE] + first[8 + 2 * WHOLE :]
    )
    mixed = first[: 8 + WHOLE] + second[8 + WHOLE :]
    for data in (swapped, mixed):
        with pytest.raises(Corrupt):
            opened(data)
    with pytest.raises(Corrupt):
        opened(first, Place("file", "content", ("other",)))
