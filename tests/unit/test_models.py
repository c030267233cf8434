"""What may be a model, and what a change makes of a row."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import typing

import msgspec
import pytest

from skerry import sdk
from skerry.core.entity_changes import (
    Now,
    check_find,
    edit_of,
    filters_of,
    fits,
    keep_unknown,
    meet,
    new_body,
    together,
)
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.entities import Change, Declare, Declared, Filter, Find, Reading
from skerry.wire.shared import Declaration


class Colour(enum.IntEnum):
    RED = 1


class Weight(enum.Enum):
    LIGHT = 0.5


@dataclasses.dataclass
class Part:
    name: str
    parts: list[Part] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Odd:
    what: tuple[int, ...] = ()


def made(**hints: object) -> type:
    """A dataclass with these fields and an id."""
    fields = [
        (name, kind, dataclasses.field(default=None)) for name, kind in {**hints, "id": str}.items()
    ]
    return dataclasses.make_dataclass("Thing", fields)


@pytest.mark.parametrize(
    "kind",
    [str, int, float, bool, int | None, str | None, list[int], list[list[str]], Colour, datetime.datetime, Part, list[Part | None], type(None)],
    ids=str,
)  # fmt: skip
def test_types_of_fields_that_are_allowed(kind: object) -> None:
    assert sdk.model()(made(it=kind))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (bytes, "«it» is bytes"), (dict[str, int], "«it» is dict"), (decimal.Decimal, "Decimal"), (int | str, "«it» is int"),
        (list, "«it» is list"), (set[int], "set"), (Odd, "«it.what» is tuple"), (list[Odd], "what» is tuple"), (typing.Any, "Any"),
        (Weight, "«it» is an enum"), (datetime.date, "date"),
    ],
    ids=str,
)  # fmt: skip
def test_other_types_are_refused(kind: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        sdk.model()(made(it=kind))


def test_classes_that_are_no_models() -> None:
    class Plain:
        id: str = ""

    @dataclasses.dataclass
    class Nameless:
        text: str

    @dataclasses.dataclass(slots=True)
    class Slotted:
        id: str = ""

    @dataclasses.dataclass
    class Private:
        _text: str
        id: str = ""

    for cls, words in (
        (Plain, "no dataclass"),
        (Nameless, "«id: str»"),
        (Slotted, "slots"),
        (Private, "private"),
    ):
        with pytest.raises(InvalidInput, match=words):
            sdk.model()(cls)
    with pytest.raises(InvalidInput, match="no model"):
        sdk.repository(Nameless)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"strategy": "best"}, "Invalid enum value 'best'"),
        ({"batch_size": 0}, "batch_size"),
        ({"fields": {"count": "average"}}, "average"),
        ({"fields": {"size": "sum"}}, "no field «size»"),
        ({"fields": {"text": "sum"}}, "«sum» for «text», which is str"),
        ({"fields": {"text": "max"}}, "«max» for «text», which is str"),
        ({"fields": {"done": "sum"}}, "«sum» for «done», which is bool"),
        ({"fields": {"count": "union"}}, "«union» for «count»"),
        ({"fields": {"id": "lww"}}, "never changes"),
        ({"keys": {"text": "name"}}, "no list of dataclasses"),
        ({"keys": {"parts": "size"}}, "no such field"),
        ({"name": "Ä"}, "name of an entity"),
    ],
)  # fmt: skip
def test_words_that_do_not_fit_the_class(said: dict[str, typing.Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        sdk.model(**said)(made(text=str, count=int, done=bool, parts=list[Part]))


def test_repositories_that_cannot_be() -> None:
    shared, local = sdk.model(edge_enabled=True)(made(text=str)), sdk.model()(made(text=str))
    for said, words in (
        ({"hub": "http://hub:8600"}, "token="),
        ({"hub": "http://hub:8600", "token": "t", "socket": "s"}, "no socket="),
        ({"hub": "hub:8600", "token": "t"}, "http"),
    ):
        with pytest.raises(InvalidInput, match=words):
            sdk.repository(shared, **said)
    with pytest.raises(InvalidInput, match="stay on their node"):
        sdk.repository(local, hub="http://hub:8600", token="t")


def test_words_that_fit() -> None:
    rules: dict[str, typing.Any] = {"count": "sum", "text": "text", "parts.*.name": "lww"}
    assert sdk.model(strategy="merge", fields=rules, keys={"parts": "name"})(
        made(text=str, count=int | None, parts=list[Part])
    )


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def change(kind: typing.Any, body: object = None, **said: typing.Any) -> Change:
    return Change(kind, "x", raw(body), **said)


MERGE = Declaration(strategy="merge", fields={"n": "sum"})


@pytest.mark.parametrize(
    ("asked", "now", "after"),
    [
        (change("create", {"a": 1}), Now(), b'{"a":1}'),
        (change("put", {"a": 1}), Now(), b'{"a":1}'),
        (change("put", {"a": 1}), Now(b'{"a":2,"b":3}', 7), b'{"a":1,"b":3}'),
        (change("update", {"a": 1}, expected=7), Now(b'{"a":2}', 7), b'{"a":1}'),
        (change("delete"), Now(b"{}", 7), None),
        (change("delete"), Now(), None),
        (change("update", {"a": 1, "n": 3}, read=Reading(6, 0, raw({"a": 1, "n": 2}))), Now(b'{"a":2,"n":10}', 7), b'{"a":2,"n":11}'),
    ],
)  # fmt: skip
def test_what_a_change_makes_of_a_row(asked: Change, now: Now, after: bytes | None) -> None:
    assert new_body("thing", MERGE, asked, now) == after


@pytest.mark.parametrize(
    ("asked", "now", "error"),
    [
        (change("create"), Now(), InvalidInput),
        (change("put"), Now(b"{}", 7), InvalidInput),
        (change("create", {}), Now(b"{}", 7), Refused),
        (change("update", {}), Now(None, 7), NotFound),
        (change("update", {}, expected=6), Now(b"{}", 7), Refused),
        (change("delete", expected=6), Now(b"{}", 7), Refused),
        (change("put", {}, expected=6), Now(), Refused),
    ],
)
def test_changes_that_cannot_be_made(asked: Change, now: Now, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"row «x» of «thing»"):
        new_body("thing", MERGE, asked, now)


def test_what_was_made_already_is_not_made_again() -> None:
    now = Now(b'{"b":1,"a":1}', 7)
    assert new_body("thing", MERGE, change("create", {"a": 1, "b": 1}), now, again=True) == now.body
    assert new_body("thing", MERGE, change("delete", expected=6), Now(None, 7), again=True) is None
    with pytest.raises(Refused):
        new_body("thing", MERGE, change("create", {"a": 2}), now, again=True)


def test_without_merge_the_later_one_of_two_programs_stands() -> None:
    manual = Declaration(strategy="manual")
    assert meet(manual, b'{"a":1}', b'{"a":2}', b'{"a":1,"b":1}') == b'{"a":1,"b":1}'


@pytest.mark.parametrize("strategy", ["last_modified", "merge", "manual"])
def test_an_update_that_changes_nothing_takes_nothing_back(strategy: typing.Any) -> None:
    declaration = Declaration(strategy=strategy)
    now = Now(b'{"a":2,"b":1}', 7)
    asked = change("update", {"b": 1, "a": 1}, read=Reading(6, 5, raw({"a": 1, "b": 1, "new": 2})))
    assert edit_of(declaration, asked) is None
    assert new_body("thing", declaration, asked, now) == now.body


@pytest.mark.parametrize(
    ("held", "body", "kept"),
    [
        ({"a": 1, "new": 2}, {"a": 3}, {"a": 3, "new": 2}),
        ({"in": {"a": 1, "new": 2}}, {"in": {"a": 3}}, {"in": {"a": 3, "new": 2}}),
        ({"in": {"a": 1, "new": 2}}, {"in": None}, {"in": None}),
        ({"l": [{"id": 1, "new": 1}, {"id": 2, "new": 2}]}, {"l": [{"id": 2}, {"id": 3}]}, {"l": [{"id": 2, "new": 2}, {"id": 3}]}),
        ({"k": [{"no": 1, "new": 1}]}, {"k": [{"no": 1, "a": 1}]}, {"k": [{"no": 1, "a": 1, "new": 1}]}),
        ({"l": [{"a": 1, "new": 1}, {"a": 2, "new": 2}]}, {"l": [{"a": 2}, {"a": 3}]}, {"l": [{"a": 2, "new": 2}, {"a": 3}]}),
        ({"l": [1, 2]}, {"l": [3]}, {"l": [3]}),
    ],
)  # fmt: skip
def test_fields_that_a_program_does_not_know_stay(held: object, body: object, kept: object) -> None:
    declaration = Declaration(keys={"k": "no"})
    found = keep_unknown(declaration, msgspec.json.encode(held), msgspec.json.encode(body))
    assert msgspec.json.decode(found) == kept


@pytest.mark.parametrize(
    ("path", "value", "absent", "fit"),
    [
        ("a", 1, False, True), ("a", 1.0, False, True), ("a", True, False, False), ("a", 2, False, False), ("b.c", "x", False, True),
        ("b.d", "x", False, False), ("b.d", "x", True, True), ("a.b", 1, True, True), ("l", [1, 2], False, True), ("n", None, False, True),
    ],
)  # fmt: skip
def test_filters(path: str, value: object, absent: bool, fit: bool) -> None:
    body = msgspec.json.encode({"a": 1, "b": {"c": "x"}, "l": [1, 2], "n": None})
    assert fits(filters_of([Filter(path, raw(value), absent)]), body) is fit


def test_a_search_has_a_limit() -> None:
    check_find(Find(ids=["a"] * 1000))
    with pytest.raises(InvalidInput, match="at most 1000"):
        check_find(Find(ids=["a"] * 1001))


def test_declarations_together() -> None:
    held = Declared(Declaration(strategy="merge", fields={"a": "sum"}), local=False)
    more = Declaration(strategy="merge", fields={"b": "max"})
    assert together("t", held, Declare(more)).fields == {"a": "sum", "b": "max"}
    assert together("t", held, Declare(more, replace=True)) == more
    assert together("t", held, Declare(Declaration(strategy="merge"))) == held.declaration
    for asked, words in (
        (Declare(Declaration()), "strategy «last_modified» instead of «merge»"),
        (
            Declare(Declaration(strategy="merge", fields={"a": "max"})),
            "fields «a» «max» instead of «sum»",
        ),
        (Declare(held.declaration, local=True), "local to the node.*shared"),
        (Declare(held.declaration, local=True, replace=True), "local to the node.*shared"),
    ):
        with pytest.raises(InvalidInput, match=words):
            together("t", held, asked)
