"""Which rows a search finds, and that the bytes a database looks for are in all of them."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from skerry.core.entity_search import fits, longest_sign, read_filters
from skerry.core.merging import canonical
from skerry.kit.errors import InvalidInput
from skerry.wire.entities import Filter, Find


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


@pytest.mark.parametrize(
    ("path", "value", "absent", "fit"),
    [
        ("a", 1, False, True), ("a", 1.0, False, True), ("a", True, False, False), ("a", 2, False, False), ("b.c", "x", False, True),
        ("b.d", "x", False, False), ("b.d", "x", True, True), ("a.b", 1, True, True), ("l", [1, 2], False, True), ("n", None, False, True),
        ("c", "x", False, False), ("n", None, True, True), ("o", {"y": 2, "x": 1}, False, True),
    ],
)  # fmt: skip
def test_filters(path: str, value: object, absent: bool, fit: bool) -> None:
    body = msgspec.json.encode({"a": 1, "b": {"c": "x"}, "l": [1, 2], "n": None, "o": {"x": 1, "y": 2}})  # fmt: skip
    assert fits(read_filters(Find(where=[Filter(path, raw(value), absent)])), body) is fit


VALUES = [
    b"0", b"-0.0", b"0.0", b"1", b"1.0", b"1e0", b"-7", b"-7.0", b"1000", b"1e3", b"0.5", b"5e-1", b"1e15", b"1000000000000000",
    b"9007199254740991", b"9007199254740991.0", b"9007199254740992", b"9007199254740992.0", b"1e16", b"10000000000000000", b"1e22", b"10000000000000000000000",
    b"true", b"false", b"null", b'""', b'"a\\u00e4/\\"\\u0000"', "\"aä/\\\"\\u0000\"".encode(), b'"\\/"', b'"/"', b"[1]", b"[1.0]", b'{"x":1,"y":2}', b'{"y":2,"x":1}', b"{}",
]  # fmt: skip


def test_every_row_that_fits_has_the_sign() -> None:
    """However the filter and the row write a value that is the same."""
    found = 0
    for asked, held in itertools.product(VALUES, VALUES):
        body = canonical(b'{ "o": {"k\\u0022" : ' + held + b'}, "z": 1}')
        [wanted] = read_filters(Find(where=[Filter('o.k"', msgspec.Raw(asked))]))
        if fits([msgspec.structs.replace(wanted, sign=b"")], body):
            found += 1
            assert wanted.sign in body, (asked, body)
    assert found > len(VALUES)


def test_a_sign_tells_most_other_rows_apart() -> None:
    where = [Filter("a", raw(1)), Filter("title", raw("soup")), Filter("x", raw(1), or_absent=True)]
    filters = read_filters(Find(where=where))
    assert [each.sign for each in filters] == [b'"a":1', b'"title":"soup"', b""]
    assert longest_sign(filters) == b'"title":"soup"'
    assert longest_sign([]) == b""


def test_a_search_has_a_limit() -> None:
    assert read_filters(Find(ids=["a"] * 1000)) == []
    with pytest.raises(InvalidInput, match="at most 1000"):
        read_filters(Find(ids=["a"] * 1001))
    for asked in (Find(ids=["a", "\0"]), Find(prefix="\0"), Find(after="a\0")):
        with pytest.raises(InvalidInput, match=r"U\+0000"):
            read_filters(asked)
