"""Three-way merge: what happens at each kind of place, under each rule, whichever side is held."""

from typing import Literal

import pytest
from tests.merging_cases import body, version

from skerry.core.merging import Verdict, Version, judge
from skerry.core.merging.bodies import MAX_DEPTH, MAX_DIGITS, decoded, token
from skerry.wire.shared import Declaration, FieldRule

Fallback = Literal["last_modified", "central_wins", "edge_wins", "manual"]
Json = dict[str, object]


def merged(
    declaration: Declaration, base: Json | None, older: Json, newer: Json, *, held: str = "older"
) -> Verdict:
    """Two nodes' changes of `base`; `held` says which one the hub took first."""
    before = None if base is None else version(base, 1, 10, "n0")
    first, second = version(older, 2, 20, "n1"), version(newer, 2, 30, "n2")
    pair = (first, second) if held == "older" else (second, first)
    return judge(declaration, before, *pair)


def both_ways(declaration: Declaration, base: Json | None, older: Json, newer: Json) -> Verdict:
    """The verdict when the older came first; the row is the same when it came second."""
    verdict = merged(declaration, base, older, newer)
    other = merged(declaration, base, older, newer, held="newer")
    assert (verdict.outcome == "conflict") == (other.outcome == "conflict")
    if verdict.outcome != "conflict":
        assert decoded(verdict.version.body) == decoded(other.version.body)
    return verdict


def rule(name: FieldRule, fallback: Fallback = "last_modified") -> Declaration:
    return Declaration(strategy="merge", fallback=fallback, fields={"x": name})


PLAIN = Declaration(strategy="merge")
MANUAL = Declaration(strategy="merge", fallback="manual")
BIG = 10**MAX_DIGITS - 1


@pytest.mark.parametrize(
    ("base", "older", "newer", "row"),
    [
        ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 2}),
        ({}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}),
        ({"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}),
        ({"a": 1, "b": 1}, {"b": 1}, {"a": 1}, {}),
        (
            {"o": {"a": 1, "b": 1}},
            {"o": {"a": 2, "b": 1}},
            {"o": {"a": 1, "b": 2}},
            {"o": {"a": 2, "b": 2}},
        ),
        ({"o": 1}, {"o": {"a": 1}}, {"o": {"b": 1}}, {"o": {"a": 1, "b": 1}}),
        ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ({"a": None, "b": 0}, {"b": 0}, {"a": None, "b": 1}, {"b": 1}),
        (
            {"l": [1, 2], "a": 1},
            {"l": [2, 1], "a": 1},
            {"l": [1, 2], "a": 2},
            {"l": [2, 1], "a": 2},
        ),
    ],
)
def test_changes_of_different_places_are_both_taken(
    base: Json, older: Json, newer: Json, row: Json
) -> None:
    verdict = both_ways(MANUAL, base, older, newer)
    assert decoded(verdict.version.body) == row
    assert (verdict.loser, verdict.contested) == (None, ())


@pytest.mark.parametrize(
    ("base", "older", "newer", "places"),
    [
        ({"a": 1}, {"a": 2}, {"a": 3}, ("a",)),
        ({"a": 1}, {"a": 1.0}, {"a": True}, ("a",)),
        ({"a": 1}, {"a": 2}, {"a": "two"}, ("a",)),
        ({"a": 1}, {}, {"a": 2}, ("a",)),
        ({}, {"a": 1}, {"a": None}, ("a",)),
        ({"o": {"p": {"q": 1}}}, {"o": {"p": {"q": 2}}}, {"o": {"p": {"q": 3}}}, ("o.p.q",)),
        ({"o": {"a": 1}}, {}, {"o": {"a": 2}}, ("o",)),
        ({"o": {"a": 1}}, {"o": {"a": 2}}, {"o": [1]}, ("o",)),
        ({"l": [1]}, {"l": [1, 2]}, {"l": [1, 3]}, ("l",)),
        ({"l": [{"id": 1}]}, {"l": [{"id": 1}, {"id": 1}]}, {"l": []}, ("l",)),
        ({"l": [{"id": 1}]}, {"l": [{"id": True}]}, {"l": []}, ("l",)),
        ({"l": [{"id": 1}]}, {"l": [{"id": 1.0}]}, {"l": []}, ("l",)),
        ({"l": [{"id": 1}]}, {"l": [{}]}, {"l": []}, ("l",)),
        ({"l": [{"id": 1}]}, {"l": [1]}, {"l": []}, ("l",)),
        ({"l": [{"id": 1}]}, {"l": [{"id": "1", "a": 1}]}, {"l": [{"id": 1, "a": 2}]}, ("l.1",)),
        (
            {"l": [{"id": 1}, {"id": 2}, {"id": 3}]},
            {"l": [{"id": 3}, {"id": 1}, {"id": 2}]},
            {"l": [{"id": 2}, {"id": 1}, {"id": 3}]},
            ("l",),
        ),
    ],
)
def test_a_place_that_both_changed_falls_to_the_fallback(
    base: Json, older: Json, newer: Json, places: tuple[str, ...]
) -> None:
    verdict = both_ways(PLAIN, base, older, newer)
    assert verdict.contested == places
    assert verdict.loser is not None
    waiting = both_ways(MANUAL, base, older, newer)
    assert (waiting.outcome, waiting.contested) == ("conflict", places)
    assert waiting.loser == version(newer, 2, 30, "n2")


@pytest.mark.parametrize(
    ("name", "base", "older", "newer", "row"),
    [
        ("lww", 1, 2, 3, 3),
        ("lww", {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ("max", 1, 3, 2, 3),
        ("max", 9, 3, 2, 3),
        ("max", 0, 1, 1.0, 1.0),
        ("max", 0, 2**70, 2**70 + 1, 2**70 + 1),
        ("max", 0, 2**70 + 1, float(2**70), 2**70 + 1),
        ("min", 1, 3, 2, 2),
        ("min", 1.5, -0.5, 1, -0.5),
        ("sum", 10, 13, 15, 18),
        ("sum", 10, 13, 13.0, 16.0),
        ("sum", 10, 12, 12, 14),
        ("sum", 10, 7, 4, 1),
        ("sum", 2**70, 2**70 + 1, 2**70 - 3, 2**70 - 2),
        ("sum", 0.5, 1.5, 1, 2.0),
        ("sum", 0.1, 0.2, 0.3, 0.4),
        ("union", [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 3, 4]),
        ("union", [1, 2], [2], [1, 2, 4], [2, 4]),
        ("union", [1, 2, 3], [3, 2, 1], [1, 3, 4], [3, 4, 1]),
        ("union", [], [3, 1], [1, 2], [3, 1, 2]),
        ("union", [1], [1, 1, 2], [1, 3], [1, 2, 3]),
        ("union", [1], [1, 1.0], [1, True], [1, 1.0, True]),
        ("union", [], [{"a": 1, "b": 2}], [{"b": 2, "a": 1}, 3], [{"a": 1, "b": 2}, 3]),
        ("union", 5, [1], [2], [1, 2]),
        ("text", "a\nb\nc", "A\nb\nc", "a\nb\nC", "A\nb\nC"),
        ("text", "a\nb\nc", "b\nc", "a\nb\nc\nd", "b\nc\nd"),
        ("text", "a\nb", "A\nb", "a\nB", "A\nB"),
        ("text", "a\nb\nc", "a\nx\nc", "a\nx\nc\nd", "a\nx\nc\nd"),
        ("text", "x\ny\nz", "x\nz", "x\n\0é\r\ny\nz\u2028w", None),
        ("text", "", "a", "b", None),
        ("text", "a", "a\nb", "a\nc", None),
        ("text", "a\nb\nc", "a\nx\nb\nc", "A\nb\nc", None),
    ],
)
def test_rules(name: FieldRule, base: object, older: object, newer: object, row: object) -> None:
    verdict = both_ways(rule(name), {"x": base}, {"x": older}, {"x": newer})
    expected = newer if row is None else row
    assert token(decoded(verdict.version.body)["x"]) == token(expected)
    waiting = both_ways(rule(name, "manual"), {"x": base}, {"x": older}, {"x": newer})
    assert (waiting.outcome == "conflict") == (row is None)


@pytest.mark.parametrize(
    ("name", "base", "older", "newer"),
    [
        ("max", 1, 2, "3"),
        ("min", 1, True, 2),
        ("sum", 1, 2, None),
        ("sum", "1", 2, 3),
        ("sum", True, 2, 3),
        ("sum", 0.0, 1.7e308, 1.6e308),
        ("sum", 0.5, BIG, BIG - 1),
        ("sum", 0, BIG, BIG - 1),
        ("text", 1, "a", "b"),
        ("text", "a", "b", 2),
        ("union", [1], [2], {"a": 1}),
    ],
)
def test_a_rule_that_does_not_fit_counts_as_none(
    name: FieldRule, base: object, older: object, newer: object
) -> None:
    verdict = both_ways(rule(name), {"x": base}, {"x": older}, {"x": newer})
    assert body(decoded(verdict.version.body)["x"]) == body(newer)
    waiting = both_ways(rule(name, "manual"), {"x": base}, {"x": older}, {"x": newer})
    assert waiting.outcome == "conflict"


def test_a_field_that_both_have_added() -> None:
    for name, row in (("max", 5), ("min", 3), ("sum", 8), ("lww", 5)):
        verdict = both_ways(rule(name), {}, {"x": 3}, {"x": 5})
        assert decoded(verdict.version.body) == {"x": row}


def test_without_a_base_nothing_is_added_up() -> None:
    assert decoded(both_ways(rule("sum"), None, {"x": 8}, {"x": 5}).version.body) == {"x": 5}
    assert both_ways(rule("sum", "manual"), None, {"x": 8}, {"x": 5}).outcome == "conflict"
    both = both_ways(rule("union", "manual"), None, {"x": [1], "a": 1}, {"x": [2], "b": 1})
    assert decoded(both.version.body) == {"x": [1, 2], "a": 1, "b": 1}


def elements(*found: object) -> Json:
    """A list of objects; a bare name is an object with this id alone."""
    return {"l": [one if isinstance(one, dict) else {"id": one} for one in found]}


@pytest.mark.parametrize(
    ("base", "older", "newer", "row"),
    [
        (elements(1, 2), elements(1, 2, 3), elements(1, 2, 4), elements(1, 2, 3, 4)),
        (elements(1, 2), elements(3, 1, 2), elements(4, 1, 2), elements(3, 4, 1, 2)),
        (elements(1, 2), elements(1, 3, 2), elements(1, 4, 2), elements(1, 3, 4, 2)),
        (elements(1, 2, 3), elements(3, 1, 2), elements(1, 2, 4, 3), elements(3, 1, 2, 4)),
        (elements(1, 2, 3), elements(2, 3), elements(3, 1, 2), elements(3, 2)),
        (elements(1, 2, 3), elements(3, 2, 1, 4), elements(3, 2, 1, 5), elements(3, 2, 1, 4, 5)),
        (elements(1, 2), elements(2), elements(1), elements()),
        (elements(1), elements(), elements(1, 2), elements(2)),
        (elements(), elements("a", "b"), elements("b", "c"), elements("a", "b", "c")),
        (elements(1), elements(1, "1"), elements(1, 2), elements(1, "1", 2)),
        (
            elements({"id": 1, "a": 1, "b": 1}, 2),
            elements(2, {"id": 1, "a": 2, "b": 1}),
            elements({"id": 1, "a": 1, "b": 2}, 2, 3),
            elements(2, 3, {"id": 1, "a": 2, "b": 2}),
        ),
        (
            elements({"id": 1, "p": [{"id": 7, "n": 1}]}),
            elements({"id": 1, "p": [{"id": 7, "n": 2}]}),
            elements({"id": 1, "p": [{"id": 7, "n": 1}, {"id": 8}]}),
            elements({"id": 1, "p": [{"id": 7, "n": 2}, {"id": 8}]}),
        ),
    ],
)
def test_lists_whose_elements_have_ids(base: Json, older: Json, newer: Json, row: Json) -> None:
    verdict = both_ways(MANUAL, base, older, newer)
    assert verdict.outcome != "conflict"
    assert body(decoded(verdict.version.body)) == body(row)
    assert verdict.loser is None


def test_an_element_that_one_removed_and_the_other_changed() -> None:
    base, gone, changed = (
        elements({"id": 1, "a": 1}, 2),
        elements(2),
        elements({"id": 1, "a": 2}, 2),
    )
    assert both_ways(MANUAL, base, gone, changed).contested == ("l.1",)
    assert decoded(both_ways(PLAIN, base, gone, changed).version.body) == changed
    assert decoded(both_ways(PLAIN, base, changed, gone).version.body) == gone


def test_paths_keys_and_wildcards() -> None:
    declaration = Declaration(
        strategy="merge",
        fallback="manual",
        fields={"steps.*.n": "sum", "counts.*": "max", "counts.low": "min", "*.free": "lww"},
        keys={"steps": "name"},
    )
    base: Json = {
        "steps": [{"name": "a", "n": 1}, {"name": "b", "n": 1}],
        "counts": {"low": 5, "high": 5},
        "o": {"free": 1},
    }
    older: Json = {
        "steps": [{"name": "a", "n": 2}, {"name": "b", "n": 3}],
        "counts": {"low": 4, "high": 6},
        "o": {"free": 2},
    }
    newer: Json = {
        "steps": [{"name": "b", "n": 5}, {"name": "a", "n": 4}],
        "counts": {"low": 3, "high": 7},
        "o": {"free": 3},
    }
    verdict = both_ways(declaration, base, older, newer)
    assert decoded(verdict.version.body) == {
        "steps": [{"name": "b", "n": 7}, {"name": "a", "n": 5}],
        "counts": {"low": 3, "high": 7},
        "o": {"free": 3},
    }
    assert set(verdict.contested) == {
        "steps.a.n", "steps.b.n", "counts.low", "counts.high", "o.free"
    }  # fmt: skip


def test_a_declared_key_that_is_missing_makes_the_list_one_value() -> None:
    declaration = Declaration(strategy="merge", fallback="manual", keys={"l": "name"})
    base, older, newer = elements(1), elements(1, 2), elements(1, 3)
    assert both_ways(declaration, base, older, newer).contested == ("l",)


def test_as_deep_as_a_body_may_be() -> None:
    def nested(leaf: Json) -> Json:
        for _ in range(MAX_DEPTH - 1):
            leaf = {"o": leaf}
        return leaf

    verdict = both_ways(
        MANUAL, nested({"a": 1, "b": 1}), nested({"a": 2, "b": 1}), nested({"a": 1, "b": 2})
    )
    assert decoded(verdict.version.body) == nested({"a": 2, "b": 2})


def test_keys_stand_as_they_stood_and_added_ones_follow() -> None:
    verdict = merged(PLAIN, {"b": 1, "a": 1}, {"b": 1, "z": 1, "a": 2}, {"a": 1, "y": 1, "b": 1})
    assert verdict.version.body == b'{"b":1,"z":1,"a":2,"y":1}'


def test_large_lists_and_texts_are_merged_in_time() -> None:
    ids = list(range(20_000))
    verdict = merged(PLAIN, elements(*ids), elements(*ids, -1), elements(-2, *reversed(ids)))
    assert len(decoded(verdict.version.body)["l"]) == 20_002  # type: ignore[arg-type]
    lines = [str(n % 7) for n in range(50_000)]
    text = {"x": "\n".join(lines)}
    first, last = {"x": "\n".join(["new", *lines])}, {"x": "\n".join([*lines, "new"])}
    verdict = merged(rule("text", "manual"), text, first, last)
    assert decoded(verdict.version.body) == {"x": "\n".join(["new", *lines, "new"])}


def test_the_merged_version_is_by_the_edit_and_as_late_as_the_later() -> None:
    for held, hlc, origin in (("older", 30, "n2"), ("newer", 30, "n1")):
        verdict = merged(PLAIN, {}, {"a": 1}, {"b": 1}, held=held)
        assert (verdict.version.hlc, verdict.version.origin) == (hlc, origin)


def test_who_is_returned_as_loser() -> None:
    base, older, newer = version({"x": 1, "y": 1}, 1), {"x": 2, "y": 1}, {"x": 3, "y": 2}
    first, second = version(older, 2, 20, "n1"), version(newer, 2, 30, "n2")
    won = judge(PLAIN, base, first, second)
    assert won == Verdict("edit", second, first, ("x",))
    late = judge(PLAIN, base, second, first)
    assert late == Verdict("lost", second, first, ("x",))
    apart: Version = version({"x": 9, "y": 1, "z": 1}, 2, 20, "n1")
    assert judge(PLAIN, base, second, apart).loser == apart
    assert judge(PLAIN, base, apart, second).loser == apart
