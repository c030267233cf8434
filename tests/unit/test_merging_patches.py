"""Patches between versions of a body: exact to the byte, small, and refused where they do not fit."""

import pytest
from tests.merging_cases import any_body, any_change, body, seeds

from skerry.core.merging import apply, canonical, diff
from skerry.core.merging.bodies import MAX_DEPTH
from skerry.core.merging.patches import MAX_STEPS
from skerry.kit.errors import InvalidInput

PADDING = "p" * 200


def test_any_patch_leads_to_the_body_it_was_made_for() -> None:
    made = 0
    for rng in seeds(1000):
        base = {"pad": PADDING} | any_body(rng)
        before, after = body(base), body(any_change(rng, base))
        patch = diff(before, after)
        if patch is not None:
            made += 1
            assert len(patch) < len(after)
            assert apply(before, patch) == after
    assert made > 500


@pytest.mark.parametrize(
    ("base", "now", "patch"),
    [
        ({"a": 1}, {"a": 1}, b"[]"),
        ({"a": 1}, {"a": 2}, b'[[["a"],2]]'),
        ({"a": 1}, {"a": 1.0}, b'[[["a"],1.0]]'),
        ({"a": 1}, {"a": True}, b'[[["a"],true]]'),
        ({"a": 0.0}, {"a": -0.0}, b'[[["a"],-0.0]]'),
        ({"a": {"b": 1, "c": PADDING}}, {"a": {"c": PADDING}}, b'[[["a","b"]]]'),
        ({}, {"a.b": {"": 1}}, b'[[["a.b"],{"":1}]]'),
        ({"a": [1, 2, 3, 4]}, {"a": [1, 9, 3, 4]}, b'[[["a",1],9]]'),
        ({"a": [10, 20, 30]}, {"a": [10, 20, 25, 30]}, b'[[["a"],2,0,[25]]]'),
        ({"a": ["x" * 30, 2]}, {"a": ["x" * 30]}, b'[[["a"],1,1,[]]]'),
        ({"a": [{"b": [PADDING, 1]}]}, {"a": [{"b": [PADDING, 2]}]}, b'[[["a",0,"b",1],2]]'),
        (
            {"a": f"{PADDING}é\nx{PADDING}"},
            {"a": f"{PADDING}é\ny{PADDING}"},
            b'[[["a"],202,1,"y"]]',
        ),
        ({"a": "aaa" + PADDING}, {"a": "aaaa" + PADDING}, None),
    ],
)
def test_steps(base: dict[str, object], now: dict[str, object], patch: bytes | None) -> None:
    before, after = body({"pad": PADDING} | base), body({"pad": PADDING} | now)
    found = diff(before, after)
    assert found == patch or patch is None
    assert found is not None
    assert apply(before, found) == after


def test_a_patch_is_smaller_than_the_whole_or_none() -> None:
    assert diff(b'{"a":1}', b'{"a":2}') is None
    assert diff(body({"a": PADDING, "b": 1}), body({"b": 1, "a": PADDING})) is None
    texts = [f"{n}{PADDING}" for n in range(2 * MAX_STEPS + 2)]
    every_other = [f"{text}!" if n % 2 else text for n, text in enumerate(texts)]
    assert diff(body({"a": texts}), body({"a": every_other})) is None


def test_one_field_of_a_large_document() -> None:
    steps = [{"id": n, "name": f"step {n}", "note": "n" * 80, "done": False} for n in range(900)]
    before = body({"steps": steps, "text": "line\n" * 2000})
    changed = [dict(step) for step in steps]
    changed[500]["done"] = True
    changed.insert(3, {"id": 9000, "name": "new"})
    del changed[700]
    after = body({"steps": changed, "text": "line\n" * 999 + "other\n" + "line\n" * 1001})
    patch = diff(before, after)
    assert len(before) > 100_000
    assert patch is not None
    assert len(patch) < 300
    assert apply(before, patch) == after


def test_order_of_keys_survives() -> None:
    before = body({"a": {"x": 1, "y": 2}, "pad": PADDING})
    after = body({"a": {"y": 2, "x": 1}, "pad": PADDING})
    patch = diff(before, after)
    assert patch is not None
    assert apply(before, patch) == after


def test_a_value_as_deep_as_a_body_travels_in_a_patch() -> None:
    deep = b'{"a":%b,"pad":"%b"}'
    inner = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    before, after = (canonical(deep % (value, PADDING.encode() * 2)) for value in (b"1", inner))
    patch = diff(before, after)
    assert patch is not None
    assert apply(before, patch) == after
    with pytest.raises(InvalidInput, match="64 deep"):
        apply(b'{"a":[0]}', b'[[["a",0],%b]]' % inner)


@pytest.mark.parametrize(
    "patch",
    [
        b"",
        b"{}",
        b"1",
        b"[1]",
        b"[[]]",
        b"[[[],1]]",
        b"[[[]]]",
        b'[["a",1]]',
        b'[[["l",3],1]]',
        b'[[["l",-1],1]]',
        b'[[["l","0"],1]]',
        b'[[["l",0]]]',
        b'[[["missing"]]]',
        b'[[["missing","x"],1]]',
        b"[[[0],1]]",
        b'[[["t"],0,6,""]]',
        b'[[["t"],-1,1,""]]',
        b'[[["t"],3,-1,""]]',
        b'[[["t"],0,1,[]]]',
        b'[[["l"],0,1,"x"]]',
        b'[[["l"],2,2,[]]]',
        b'[[["n"],0,0,[]]]',
        b'[[["n","x"],1]]',
        b'[[["t",0],"x"]]',
        b'[[["a"],1e400]]',
        b'[[["t"],0.0,1,"x"]]',
        b'[[["t"],0,1,"x",1]]',
        b"[%b]" % b",".join([b'[["n"],1]'] * (MAX_STEPS + 1)),
    ],
)
def test_what_does_not_fit_is_refused(patch: bytes) -> None:
    with pytest.raises(InvalidInput, match="cannot"):
        apply(b'{"l":[1,2,3],"t":"hello","n":1}', patch)
