"""The segment format: what is written is read, whatever is cut off or flipped is noticed and nothing else is lost."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.lanes import extend
from skerry.kit.sqlite import StateTooNew
from skerry.node.store.segments import (
    FOLLOWING,
    FORMAT,
    GROUP,
    OVERHEAD,
    Frame,
    Header,
    Hole,
    encode_frame,
    encode_header,
    examine,
    frame_at,
    scan,
)
from skerry.wire.sync import NO_CHAIN

HEADER = Header(FORMAT, "keep", "boot-1", [("ab" * 16, 7)])


def file_of(*groups: list[bytes], first: int = 1) -> tuple[bytes, list[int]]:
    """A file with one frame per payload (one record each), and where each frame begins."""
    data = encode_header(HEADER, first, NO_CHAIN)
    n, chain, starts = first, NO_CHAIN, []
    for group in groups:
        for index, payload in enumerate(group):
            starts.append(len(data))
            data += encode_frame(FOLLOWING if index else GROUP, n, 1, chain, payload)
            n, chain = n + 1, extend(chain, payload)
    return data, starts


def payloads(items: tuple[Frame, ...]) -> list[bytes]:
    return [frame.payload for frame in items]


def test_a_frame_costs_at_most_40_bytes() -> None:
    assert len(encode_frame(GROUP, 1, 1, NO_CHAIN, b"12345")) - 5 == OVERHEAD <= 40


@given(
    st.integers(1, 2**63 - 1),
    st.integers(1, 2**32 - 1),
    st.binary(min_size=8, max_size=8),
    st.binary(max_size=200),
)
def test_a_frame_is_read_as_it_was_written(
    first: int, count: int, chain: bytes, payload: bytes
) -> None:
    data = b"before" + encode_frame(GROUP, first, count, chain.hex(), payload) + b"after"
    frame = frame_at(data, 6)
    assert frame == Frame(6, len(data) - 5, GROUP, first, count, chain.hex(), payload)


def test_a_whole_file() -> None:
    data, _ = file_of([b"a"], [b"b", b"c"])
    contents = examine(data, 1, None)
    assert contents.header == HEADER
    assert payloads(contents.frames) == [b"a", b"b", b"c"]
    assert (contents.size, contents.damaged, contents.lost) == (len(data), False, ())


@pytest.mark.guarantee("G1")
def test_a_tail_torn_at_any_byte_is_cut_back_to_the_last_good_frame() -> None:
    data, starts = file_of([b"first"], [b"second", b"third"])
    for size in range(len(encode_header(HEADER, 1, NO_CHAIN)), len(data)):
        whole = [start for start in [*starts, len(data)] if start <= size]
        contents = examine(data[:size], 1, None)
        assert not contents.damaged, size
        assert contents.size == whole[-1], size
        assert len(contents.frames) == len(whole) - 1, size


def test_pages_of_the_last_group_that_arrived_without_their_predecessors_do_not_count() -> None:
    """A session's second frame must not be taken for accepted when its first is not there."""
    data, starts = file_of([b"first"], [b"second", b"third"])
    for hole in range(starts[1], starts[2]):
        torn = data[:hole] + bytes([data[hole] ^ 0x10]) + data[hole + 1 :]
        contents = examine(torn, 1, None)
        assert payloads(contents.frames) == [b"first"]
        assert (contents.size, contents.damaged) == (starts[1], False)


@pytest.mark.guarantee("G6")
def test_a_flipped_bit_before_the_last_group_is_damage_and_costs_one_frame() -> None:
    data, starts = file_of([b"first"], [b"second"], [b"third"])
    for place in range(starts[1], starts[2]):
        for bit in range(8):
            bad = bytearray(data)
            bad[place] ^= 1 << bit
            contents = examine(bytes(bad), 1, None)
            assert contents.damaged
            assert payloads(contents.frames) == [b"first", b"third"]
            assert contents.lost == ((2, 2),)
            assert contents.size == len(data)


def test_a_flipped_bit_in_the_header_costs_no_record() -> None:
    data, starts = file_of([b"first"], [b"second"])
    for place in range(starts[0]):
        bad = bytearray(data)
        bad[place] ^= 1
        contents = examine(bytes(bad), 1, None)
        assert contents.damaged
        assert contents.header is None
        assert payloads(contents.frames) == [b"first", b"second"]
        assert contents.lost == ()


def test_in_an_older_file_every_missing_byte_is_damage() -> None:
    data, starts = file_of([b"first"], [b"second", b"third"])
    for size in range(starts[0], len(data)):
        contents = examine(data[:size], 1, 4)
        assert contents.damaged
        assert contents.lost[-1] == (len(contents.frames) + 1, 3)
    assert not examine(data, 1, 4).damaged


def test_frames_out_of_order_are_damage() -> None:
    data, starts = file_of([b"first"], [b"second"])
    again = data + data[starts[0] : starts[1]]
    contents = examine(again, 1, 3)
    assert contents.damaged
    assert payloads(contents.frames) == [b"first", b"second"]


def test_numbers_missing_in_a_salvaged_file_have_been_reported_already() -> None:
    header = msgspec.structs.replace(HEADER, salvaged=True)
    data = encode_header(header, 1, NO_CHAIN) + encode_frame(GROUP, 5, 1, NO_CHAIN, b"x")
    contents = examine(data, 1, None)
    assert (contents.damaged, contents.lost) == (False, ((1, 4),))


def test_garbage_of_any_kind_is_one_hole_at_most_between_frames() -> None:
    data, starts = file_of([b"first"], [b"second"])
    noise = b"\xffSK" * 50 + b"\xffSKG" + bytes(40)
    items = list(scan(data[: starts[1]] + noise + data[starts[1] :]))
    assert [type(item) for item in items] == [Frame, Frame, Hole, Frame]
    assert list(scan(noise)) == [Hole(0, len(noise))]
    assert list(scan(b"")) == []


@given(st.binary(max_size=300))
def test_any_bytes_can_be_examined(data: bytes) -> None:
    for until in (None, 3):
        assert examine(data, 1, until).header is None


def test_a_newer_format_is_refused() -> None:
    newer = encode_header(msgspec.structs.replace(HEADER, version=FORMAT + 1), 1, NO_CHAIN)
    with pytest.raises(StateTooNew, match=r"Install the newer Skerry again"):
        examine(newer, 1, None)
