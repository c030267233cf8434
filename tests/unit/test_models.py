"""What may be a model, and what a change makes of a row."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import re
import typing

import msgspec
import pytest

from skerry import sdk
from skerry.core.entity_changes import (
    Now,
    check_changes,
    check_entity,
    edit_of,
    keep_unknown,
    meet,
    new_body,
    together,
    was_made,
)
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.sdk.row_codec import Model, RowCodec
from skerry.wire.entities import Change, Changes, Declare, Declared, Reading
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
    with pytest.raises(InvalidInput, match="brackets"):
        sdk.model(made())


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
        ({"name": "recipe_"}, "name of an entity"),
        ({"name": "entity"}, "another than «entity»"),
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
        ({"hub": "http://hub:8600", "token": ""}, "one word"),
        ({"hub": "http://hub:8600", "token": "a b"}, "one word"),
        ({"hub": "http://hub:8600", "token": "ä"}, "one word"),
    ):
        with pytest.raises(InvalidInput, match=words):
            sdk.repository(shared, **said)
    assert sdk.repository(shared, hub="http://hub:8600", token="t\n")
    with pytest.raises(InvalidInput, match="stay on their node"):
        sdk.repository(local, hub="http://hub:8600", token="t")


def test_words_that_fit() -> None:
    rules: dict[str, typing.Any] = {
        "count": "sum",
        "text": "text",
        "parts.*.name": "lww",
        "parts": "edge",
    }
    assert sdk.model(strategy="merge", fields=rules, keys={"parts": "name"})(
        made(text=str, count=int | None, parts=list[Part])
    )


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"id": "x"}, "prefix="), ({"colour": 1}, "«Thing» has no such field"), ({"part.size": 1}, "«Thing» has no such"), ({"parts.*.name": "x"}, "no such field"),
        ({"count": "2"}, "Expected `int | null`, got `str`"), ({"count": 2.5}, "got `float`"), ({"text": object()}, "unsupported"), ({"colour.x": 1}, "no such"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
)  # fmt: skip
def test_searches_that_cannot_be(where: dict[str, object], words: str) -> None:
    rows = codec(made(text=str, count=int, part=Part | None, parts=list[Part]))
    with pytest.raises(
        InvalidInput, match=f"cannot look for rows of «thing» by.*{re.escape(words)}"
    ):
        rows.filters(where)


def test_what_is_no_object_of_the_model() -> None:
    rows = codec(made(text=str))
    wrong: typing.Any = {"text": "a"}
    for ask in (
        lambda: rows.with_id("create", wrong),
        lambda: rows.change("update", wrong, None, None),
    ):
        with pytest.raises(InvalidInput, match="row of «thing»: a «dict» is no «Thing»"):
            ask()


def test_searches_that_can_be() -> None:
    rows = codec(
        made(
            text=str,
            count=int | None,
            part=Part | None,
            at=datetime.datetime,
            colour=Colour,
            size=float,
        )
    )
    at = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    found = rows.filters(
        {"text": "a", "count": None, "part.name": "x", "at": at, "colour": Colour.RED, "size": 1}
    )
    said = [(each.path, bytes(each.value), each.or_absent) for each in found]
    assert said == [
        ("text", b'"a"', False), ("count", b"null", True), ("part.name", b'"x"', False), ("at", b'"2026-01-02T00:00:00Z"', False),
        ("colour", b"1", False), ("size", b"1", False),
    ]  # fmt: skip


def test_a_search_knows_what_rows_of_before_read_as() -> None:
    @dataclasses.dataclass
    class Thing:
        tags: list[str] = dataclasses.field(default_factory=list)
        stars: int = 3
        id: str = ""

    rows = codec(Thing)
    absent = [rows.filters({name: value})[0].or_absent for name, value in (("tags", []), ("tags", ["a"]), ("stars", 3), ("stars", 4))]  # fmt: skip
    assert absent == [True, False, True, False]


def codec(cls: type) -> RowCodec[typing.Any]:
    return RowCodec(Model(cls, "thing", Declaration(), local=True))


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


READ = Reading(6, 0, raw({"a": 1, "n": 2}))


@pytest.mark.parametrize(
    ("asked", "now", "made"),
    [
        (change("create", {"a": 1, "b": 2}), Now(b'{"b":2,"a":1}', 7), True),
        (change("create", {"a": 2}), Now(b'{"a":1}', 7), False),
        (change("put", {"a": 1}), Now(b'{"a":1,"new":1}', 7), True),
        (change("delete", expected=6), Now(None, 7), True),
        (change("delete"), Now(b"{}", 7), False),
        (change("settle", {"a": 1}), Now(b'{"a":1}', 7), True),
        (change("settle", {"a": 2}), Now(b'{"a":1}', 7), False),
        (change("update", {"a": 5, "n": 2}, read=READ), Now(b'{"a":1,"n":2}', 6), False),
        (change("update", {"a": 5, "n": 2}, read=READ), Now(None, 7), False),
        (change("update", {"a": 5, "n": 2}, read=READ), Now(b'{"a":5,"n":9}', 7), True),
    ],
)  # fmt: skip
def test_whether_a_change_without_an_answer_was_made(asked: Change, now: Now, made: bool) -> None:
    assert was_made("thing", MERGE, asked, now, waits=False) is made


def test_a_decision_is_not_made_while_something_waits_for_it() -> None:
    asked, now = change("settle", {"a": 1}), Now(b'{"a":1}', 7)
    assert not was_made("thing", MERGE, asked, now, waits=True)


@pytest.mark.parametrize(
    ("declaration", "body"),
    [(MERGE, {"a": 1, "n": 3}), (Declaration(), {"a": 5, "n": 2})],
    ids=["a second time would add again", "a second time would take a later change back"],
)
def test_what_may_have_been_made_is_not_made_twice(
    declaration: Declaration, body: dict[str, int]
) -> None:
    asked = change("update", body, read=READ)
    with pytest.raises(Refused, match=r"row «x» of «thing».*may have been made already. Read"):
        was_made("thing", declaration, asked, Now(b'{"a":1,"n":9}', 7), waits=False)


def test_what_says_the_same_is_the_row_itself() -> None:
    now = Now(b'{"a":1,"b":2}', 7)
    assert new_body("thing", MERGE, change("update", {"b": 2, "a": 1}), now) is now.body


def test_changes_that_are_no_request() -> None:
    check_changes("thing", Changes([Change("delete", "ä/b c%2F.."), Change("delete", "x" * 200)]))
    for asked, words in (
        ([change("put")] * 2, "«x» of «thing»: it comes twice"),
        (
            [Change("put", str(n)) for n in range(5001)],
            "5001 rows of «thing» at once: at most 5000",
        ),
        ([Change("put", "x" * 201)], "1 to 200 characters"),
        ([Change("put", "")], "1 to 200"),
        ([Change("put", "a\nb")], r"«a\\nb».*control"),
        ([Change("put", "a\0b")], "control"),
    ):
        with pytest.raises(InvalidInput, match=words):
            check_changes("thing", Changes(asked))
    with pytest.raises(Refused, match="they declare entities"):
        check_changes("entity", Changes([change("put")]))


def test_names_of_entities() -> None:
    check_entity("shopping_item")
    for name, words in (
        ("Ä", "no entity's name"),
        ("a b", "no entity's name"),
        ("entity", "another name"),
    ):
        with pytest.raises(InvalidInput, match=words):
            check_entity(name)


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
