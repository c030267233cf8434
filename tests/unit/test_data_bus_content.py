"""What samples become that no well-behaved program publishes."""

from __future__ import annotations

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.runners.zenoh.content import as_file, as_value, file_kind, take
from skerry.wire.data_samples import BYTES, JSON, MAX_HEADER, NDARRAY, Sample, pack

NOW = 1_795_000_000 * 10**9
AT = NOW / 1e9


def framed(kind: str, payload: bytes, at: float = AT, seq: int = 0, **header: object) -> bytes:
    return pack(Sample({"content_type": kind, **header}, at, seq, payload))


def array(dtype: str, shape: list[int], payload: bytes) -> bytes:
    return framed(NDARRAY, payload, dtype=dtype, shape=shape)


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        (b'{"a":1}', '{"a":1}'),  # programs without the SDK frame nothing
        (b"[1,2]", "[1,2]"),
        (b'{"a":NaN}', '{"a":null}'),
        (framed(JSON, b'{"x":Infinity}'), '{"x":null}'),
        (framed(JSON, b"1", at=AT + 1e7), 1),
        (framed(JSON, b"1", at=math.nan), 1),
        (framed(JSON, b"1", seq=-5), 1),
        (array("float64", [], struct.pack("<d", 3.5)), "[3.5]"),
        (array("float32", [0, 3], b""), "[]"),
        (array("float16", [1], b"\x00\x7c"), "[null]"),
        (array("bool", [2], b"\x00\x01"), "[false,true]"),
        (array("uint64", [1], b"\xff" * 8), f"[{2**64 - 1}]"),
    ],
)
def test_what_can_be_a_value_is_one(sample: bytes, value: object) -> None:
    taken = take(sample, NOW)
    assert as_value(taken) == value
    assert taken.at == NOW  # its own time, or that of its coming where it is none


@pytest.mark.parametrize(
    ("sample", "kind", "size"),
    [
        (b"", "raw", 0),
        (b"\xff\xfe\x00", "raw", 3),
        (b"\xff\xd8\xff\xe0", "jpeg", 4),
        (b"\xff\xff\xff\xff" + bytes(30), "raw", 34),  # a header longer than the sample
        (bytes(4) + bytes(30), "raw", 34),  # shorter than time and number
        (struct.pack("<I", MAX_HEADER + 1) + bytes(MAX_HEADER + 1), "raw", MAX_HEADER + 5),
        (framed(BYTES, b""), "raw", 0),
        ('{"a":1}'.encode("utf-16"), "raw", 16),  # which Python's `json` would read
        (framed(JSON, '{"a":1}'.encode("utf-8-sig")), "json", 10),
        (array("datetime64[s]", [1], bytes(8)), "raw", 8),
        (array("<U0", [1], b""), "raw", 0),
        (array("float32", [3, 3], bytes(4)), "raw", 4),
        (array("uint8", [2**31] * 3, bytes(4)), "raw", 4),
        (array("uint8", [-1, -4], bytes(4)), "raw", 4),
    ],
)
def test_what_cannot_be_a_value_is_a_file_of_its_bytes(sample: bytes, kind: str, size: int) -> None:
    taken = take(sample, NOW)
    assert as_value(taken) is None
    assert file_kind(taken) == kind
    assert len(as_file(taken)) == size


@pytest.mark.parametrize("dtype", ["<i3", "|b3", "<f7", "<c9", ">u16"])
def test_what_numpy_has_no_numbers_of_is_kept_as_it_came(dtype: str) -> None:
    payload = bytes(2 * int(dtype[2:]))
    taken = take(array(dtype, [2], payload), NOW)
    assert (file_kind(taken), as_file(taken)) == ("raw", payload)


@pytest.mark.parametrize("dtype", [">f4", ">u2", "<U5", "|S3", "complex64", "complex128"])
def test_arrays_that_are_no_list_of_numbers_are_numpys_files(dtype: str) -> None:
    """numpy itself reads one in tests/integration/test_data_bus_records.py."""
    stored = {"complex64": "<c8", "complex128": "<c16"}.get(dtype, dtype)
    size = int(stored[2:]) * (4 if "U" in stored else 1)
    taken = take(array(dtype, [2, 3], bytes(6 * size)), NOW)
    assert as_value(taken) is None
    assert file_kind(taken) == "npy"
    assert f"'descr': '{stored}'".encode() in as_file(taken)[:100]


def test_a_header_cannot_say_which_number_a_sample_has_or_what_is_no_text() -> None:
    taken = take(framed(JSON, b"1", seq=4, shape=["\ud800"], x="\ud800"), NOW)
    assert taken.meta == {"content_type": JSON, "seq": 4}
    lying = framed(JSON, b"1", seq=4).replace(b'"content_type"', b'"seq":"no","b"')
    assert lying[0] == framed(JSON, b"1")[0]
    assert take(lying, NOW).meta["seq"] == 4


def test_a_header_may_have_64_kib_and_gives_meta_what_fits() -> None:
    bare = len(framed(JSON, b"", m="")) - 4
    limit = framed(JSON, b"1", m="x" * (MAX_HEADER - bare))
    assert struct.unpack_from("<I", limit) == (MAX_HEADER,)
    taken = take(limit, NOW)
    assert (as_value(taken), taken.meta) == (1, {"seq": 0, "content_type": JSON})
    many = take(framed(JSON, b"1", **{f"k{n}": n for n in range(60)}), NOW)
    assert len(many.meta) <= 32


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda header, payload: struct.pack("<Idq", 16 + len(header), AT, 1) + header + payload,
        st.dictionaries(
            st.sampled_from(["content_type", "shape", "dtype", "x"]),
            st.sampled_from([NDARRAY, JSON, "uint8", [1, 2], [2**40], None, 1.5, {"a": []}]),
        ).map(lambda header: json.dumps(header).encode()),
        st.binary(max_size=40),
    )
)
def test_whatever_comes_is_kept(sample: bytes) -> None:
    taken = take(sample, NOW)
    if as_value(taken) is None:
        assert as_file(taken).endswith(taken.payload)
