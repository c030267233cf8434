"""Bodies of shared rows: one form, numbers that survive, and marks."""

import msgspec
import pytest
from tests.merging_cases import any_body, body, seeds

from skerry.core.merging import apply, canonical, mark, marks
from skerry.core.merging.bodies import MAX_DEPTH, MAX_DIGITS, decoded, encoded, same, token
from skerry.kit.errors import InvalidInput


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (b' { "b" : 1 , "a" : [ ] } ', b'{"b":1,"a":[]}'),
        (b'{"a":1,"b":2,"a":3}', b'{"a":3,"b":2}'),
        (b'{"a":"\\u00e9\\ud83d\\ude00\\u0000\\/"}', '{"a":"é😀\\u0000/"}'.encode()),
        (b'{"n":1}', b'{"n":1}'),
        (b'{"n":1.0}', b'{"n":1.0}'),
        (b'{"n":-0}', b'{"n":0}'),
        (b'{"n":-0.0}', b'{"n":-0.0}'),
        (b'{"n":0.0e9}', b'{"n":0.0}'),
        (b'{"n":1E5}', b'{"n":100000.0}'),
        (b'{"n":0.10000000000000001}', b'{"n":0.1}'),
        (b'{"n":0.000000000000000000000012345}', b'{"n":1.2345e-23}'),
        (b'{"n":100000000000000000000000.0}', b'{"n":1e23}'),
        (b'{"n":5e-324}', b'{"n":5e-324}'),
        (b'{"n":1.7976931348623157e308}', b'{"n":1.7976931348623157e308}'),
        (b'{"n":-18446744073709551617}', b'{"n":-18446744073709551617}'),
        (b'{"n":%b}' % (b"9" * MAX_DIGITS), b'{"n":%b}' % (b"9" * MAX_DIGITS)),
    ],
)
def test_one_form(written: bytes, kept: bytes) -> None:
    assert canonical(written) == kept
    assert canonical(kept) == kept


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b'{"a":1}{}',
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a":1e400}',
        b'{"a":-1e400}',
        b'{"a":1e-400}',
        b'{"a":0.%b}' % (b"1" * 18),
        b'{"a":123456789012345678.0}',
        b'{"a":%b}' % (b"9" * (MAX_DIGITS + 1)),
        b'{"a":%b}' % (b"[" * 5000 + b"]" * 5000),
    ],
)
def test_what_cannot_be_kept_is_refused(written: bytes) -> None:
    with pytest.raises(InvalidInput, match="cannot"):
        canonical(written)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth(opening: bytes, closing: bytes) -> None:
    def nested(levels: int) -> bytes:
        inner = opening * (levels - 2) + b"[]" + closing * (levels - 2)
        return b'{"a":%b}' % inner

    assert canonical(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    with pytest.raises(InvalidInput, match="64 deep"):
        canonical(nested(MAX_DEPTH + 1))
    wide = b'{"a":[%b]}' % b",".join([b"[]"] * 1000)
    assert canonical(wide) == wide


def test_canonical_form_says_the_same() -> None:
    for rng in seeds(500):
        value = any_body(rng)
        form = canonical(msgspec.json.format(body(value), indent=3))
        assert form == body(value)
        assert msgspec.json.decode(form) == value


def test_mark_tells_rows_revisions_and_bodies_apart() -> None:
    rows = [
        ("a", 1, b"{}"),
        ("a", 2, b"{}"),
        ("b", 1, b"{}"),
        ("", 1, b"{}"),
        ("a", 11, b"{}"),
        ("1:a", 1, b"{}"),
        ("a", 1, b'{"a":1}'),
        ("a", 1, b'{"a":1.0}'),
        ("é\0", 1, b"{}"),
    ]
    assert len({mark(*row) for row in rows}) == len(rows)
    assert all(0 <= mark(*row) < 2**64 for row in rows)


def test_marks_of_many_rows_are_those_of_each() -> None:
    rows = [("a", 1, b"{}"), ("ა", 2**60, b'{"a":1}'), ("", 0, b"")]
    assert list(marks(*zip(*rows, strict=True))) == [mark(*row) for row in rows]
    assert list(marks([], [], [])) == []


def test_mark_is_the_same_for_ever() -> None:
    """Hub and node of two releases compare their sums."""
    assert mark("0190aabb", 7, b'{"a":1}') == 2452510734137427005


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"1", b"1.0"),
        (b"1", b"true"),
        (b"0", b"false"),
        (b"0.0", b"-0.0"),
        (b"1", b'"1"'),
        (b"null", b"0"),
        (b"[1,2]", b"[2,1]"),
        (b"[1]", b"[1,1]"),
        (b"[1]", b"[true]"),
        (b'{"a":1}', b'{"a":1.0}'),
        (b'{"a":null}', b"{}"),
    ],
)
def test_what_is_written_differently_differs(one: bytes, other: bytes) -> None:
    first, second = (decoded(b'{"x":%b}' % text)["x"] for text in (one, other))
    assert not same(first, second)
    assert token(first) != token(second)
    assert same(first, first)


def test_order_of_keys_makes_no_difference() -> None:
    one, other = (decoded(text) for text in (b'{"a":[{"b":1,"c":2}]}', b'{"a":[{"c":2,"b":1}]}'))
    assert same(one, other)
    assert token(one) == token(other)
    assert encoded(one) != encoded(other)


def test_applying_needs_bodies() -> None:
    with pytest.raises(InvalidInput, match="not a JSON object"):
        apply(b"[]", b"[]")
