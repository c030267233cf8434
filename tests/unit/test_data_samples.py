"""Samples as the SDK frames them: byte for byte, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.kit.errors import InvalidInput
from skerry.wire.data_samples import Sample, pack, unpack

BY_THE_SDK = {
    "3300000000002040fc54d94103000000000000007b22636f6e74656e745f74797065223a226170706c69636174696f6e2f6a736f6e227d7b226a31223a302e357d": Sample(
        {"content_type": "application/json"}, 1700000000.5, 3, b'{"j1":0.5}'
    ),
    "6700000000002040fc54d94100000000000000007b22636f6e74656e745f74797065223a226e756d70792f6e646172726179222c227368617065223a5b312c322c335d2c226474797065223a2275696e7438222c22636f6c6f725f666f726d6174223a227267623234227d000102030405": Sample(
        {
            "content_type": "numpy/ndarray",
            "shape": [1, 2, 3],
            "dtype": "uint8",
            "color_format": "rgb24",
        },
        1700000000.5,
        0,
        bytes(range(6)),
    ),
}
"""What SDK 0.7.4 made of these samples."""


@pytest.mark.parametrize(("framed", "sample"), BY_THE_SDK.items())
def test_it_is_the_sdks_framing_byte_for_byte(framed: str, sample: Sample) -> None:
    assert pack(sample).hex() == framed
    assert unpack(bytes.fromhex(framed)) == sample


words = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    st.dictionaries(words, words | st.integers(-(2**53), 2**53) | st.none()),
    st.floats(allow_nan=False),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=200),
)
def test_what_was_framed_comes_out_again(
    header: dict[str, object], at: float, number: int, payload: bytes
) -> None:
    sample = Sample(header, at, number, payload)
    assert unpack(pack(sample)) == sample


@given(st.binary(max_size=300))
def test_other_bytes_are_a_sample_or_invalid_input(data: bytes) -> None:
    try:
        sample = unpack(data)
    except InvalidInput:
        return
    assert isinstance(sample.header, dict)


@pytest.mark.parametrize(
    "data", [b"", b'{"a": 1}', b"\xff\xd8\xff" + bytes(100), b"\x10\0\0\0" + bytes(15)]
)
def test_bare_json_and_jpeg_are_none(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="no framed sample"):
        unpack(data)


def test_a_header_has_64_kib_at_the_most() -> None:
    with pytest.raises(InvalidInput, match="of 65536"):
        pack(Sample({"a": "x" * 65_536}, 0.0, 0, b""))
    cut = bytearray(pack(Sample({"a": "x"}, 0.0, 0, b"")))
    cut[0:4] = (1 << 30).to_bytes(4, "little")
    with pytest.raises(InvalidInput, match="a header of 1073741824 bytes"):
        unpack(bytes(cut))
