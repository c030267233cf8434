"""The rule «edge»: of what it names the device's side has the last word, of all else whoever the fallback prefers."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.merging_cases import Json, version

from skerry.core.merging import Verdict, judge
from skerry.core.merging.bodies import decoded, same
from skerry.wire.shared import Declaration

TWIN = Declaration("merge", fallback="central_wins", fields={"m.edge": "edge"})

HUB, NODE = "", "n1"

leaves = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "b"])
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
bodies = st.fixed_dictionaries(
    {"m": st.fixed_dictionaries({}, optional={"edge": values, "free": values})},
    optional={"name": values},
)


def met(base: Json, hub: Json, node: Json, declared: Declaration = TWIN) -> tuple[Verdict, Verdict]:
    """What becomes of both sides' edits of `base` when the hub's came first, and when the node's did."""
    before = version(base, 1, 1)
    people, device = version(hub, 2, 30, HUB), version(node, 2, 20, NODE)
    return judge(declared, before, people, device), judge(declared, before, device, people)


def rows(verdicts: Sequence[Verdict]) -> list[Json]:
    return [dict(decoded(each.version.body)) for each in verdicts]


@given(bodies, bodies, bodies)
def test_both_orders_come_to_the_same(base: Json, hub: Json, node: Json) -> None:
    first, second = rows(met(base, hub, node))
    assert same(first, second)


@given(bodies, bodies, bodies)
def test_each_side_has_the_last_word_where_it_is_at_home(base: Json, hub: Json, node: Json) -> None:
    """Objects are merged within; a plain value that its owner has set, or removed, stands."""
    for row in rows(met(base, hub, node)):
        for path, owner in ((("name",), hub), (("m", "free"), hub), (("m", "edge"), node)):
            mine = at(owner, path)
            if not same(mine, at(base, path)) and not isinstance(mine, dict | list):
                assert same(at(row, path), mine)


def at(body: Json, path: Sequence[str]) -> object:
    """The value at a path; «absent» where there is none."""
    value: object = body
    for name in path:
        value = value.get(name, "absent") if isinstance(value, dict) else "absent"
    return value


@pytest.mark.parametrize(
    ("base", "hub", "node", "row"),
    [
        ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 3}),
        ({"a": 1}, {"a": 2, "h": 1}, {"a": 3, "n": 1}, {"a": 3, "h": 1, "n": 1}),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, {"a": {"b": 3}}, {"a": {"b": 3}}),
        ({"a": 1}, {}, {"a": 3}, {"a": 3}),
        ({"a": 1}, {"a": 2}, {}, {}),
        ({"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}),
        ({"l": [1]}, {"l": [1, 2]}, {"l": [3]}, {"l": [3]}),
        (
            {"l": [{"id": 1, "a": 0}]},
            {"l": [{"id": 1, "a": 1}]},
            {"l": [{"id": 1, "a": 2}]},
            {"l": [{"id": 1, "a": 2}]},
        ),
    ],
)
def test_below_its_place_objects_are_merged_and_the_edge_wins(
    base: Json, hub: Json, node: Json, row: Json
) -> None:
    for found in rows(met({"m": {"edge": base}}, {"m": {"edge": hub}}, {"m": {"edge": node}})):
        assert same(found, {"m": {"edge": row}})


def test_everywhere_else_the_fallback_decides() -> None:
    base, hub, node = ({"m": {"edge": n, "free": n}, "name": n} for n in (1, 2, 3))
    first, second = met(base, hub, node)
    for found in rows((first, second)):
        assert same(found, {"m": {"edge": 3, "free": 2}, "name": 2})
    assert set(first.contested) == {"m.edge", "m.free", "name"}
    assert {first.loser and first.loser.origin, second.loser and second.loser.origin} == {HUB, NODE}


def test_a_rule_below_goes_before_it() -> None:
    declared = Declaration(
        "merge", fallback="manual", fields={"m": "edge", "m.n": "sum", "m.*": "max"}
    )
    verdicts = met({"m": {"n": 1, "x": 1, "y": "a"}}, {"m": {"n": 2, "x": 9, "y": "h"}}, {"m": {"n": 3, "x": 4, "y": "n"}}, declared)  # fmt: skip
    for found in rows(verdicts):
        assert found == {"m": {"n": 4, "x": 9, "y": "n"}}


def test_it_leaves_nothing_to_a_person() -> None:
    declared = Declaration("merge", fallback="manual", fields={"m": "edge"})
    for verdict in met({"m": 1}, {"m": 2}, {"m": 3}, declared):
        assert verdict.outcome != "conflict"
        assert verdict.version.body == b'{"m":3}'


@pytest.mark.parametrize("origin", [HUB, "n1"])
def test_of_two_of_one_side_the_newer_has_it(origin: str) -> None:
    other = HUB if origin == HUB else "n2"
    base, older, newer = version({"m": {"edge": 1}}, 1), 10, 20
    one = version({"m": {"edge": 2}}, 2, newer, origin)
    two = version({"m": {"edge": 3}}, 2, older, other)
    for first, second in ((one, two), (two, one)):
        assert judge(TWIN, base, first, second).version.body == b'{"m":{"edge":2}}'
