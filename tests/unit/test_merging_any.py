"""Any bodies, any declaration, any clocks: what holds for every verdict."""

import itertools
from collections import Counter

from tests.merging_cases import (
    FALLBACKS,
    NAMES,
    SCALARS,
    Json,
    any_body,
    any_declaration,
    any_meeting,
    seeds,
    version,
)

from skerry.core.merging import Verdict, Version, canonical, judge
from skerry.core.merging.bodies import decoded, same, token
from skerry.wire.shared import Declaration, FieldRule

STRATEGIES = (*FALLBACKS, "merge", "merge")


def numbered(one: Version, rev: int) -> Version:
    return Version(rev, one.hlc, one.origin, one.deleted, one.body)


def says(one: Version) -> object:
    return None if one.deleted else token(decoded(one.body))


def test_a_verdict_is_whole() -> None:
    """The version is one of both or a canonical body of its own, the loser one of both, and a repeat changes nothing."""
    outcomes: Counter[str] = Counter()
    for rng in seeds(1500):
        declaration = any_declaration(rng, STRATEGIES, FALLBACKS)
        base, held, edit = any_meeting(rng)
        verdict = judge(declaration, base, held, edit)
        outcomes[verdict.outcome] += 1
        assert verdict == judge(declaration, base, held, edit)
        assert verdict.loser in {None, held, edit}
        assert canonical(verdict.version.body) == verdict.version.body
        match verdict.outcome:
            case "edit":
                assert verdict.version == edit
                assert verdict.loser != edit
            case "merged":
                assert declaration.strategy == "merge"
                assert says(verdict.version) not in {says(held), says(edit)}
            case _:
                assert verdict.version == held
                assert verdict.loser != held
        now = numbered(verdict.version, 3) if verdict.outcome in {"edit", "merged"} else held
        again = judge(declaration, base, now, edit)
        assert again.version == now
        assert again.outcome in {"lost", "conflict"}
    assert min(outcomes[outcome] for outcome in ("edit", "merged", "lost", "conflict")) > 100


def test_it_does_not_matter_who_came_first() -> None:
    """Where the clock decides, or a person."""
    merged = 0
    for rng in seeds(1500):
        declaration = any_declaration(
            rng, ("last_modified", "merge", "merge"), ("last_modified", "manual")
        )
        base, one, other = any_meeting(rng)
        first, second = judge(declaration, base, one, other), judge(declaration, base, other, one)
        assert (first.outcome == "conflict") == (second.outcome == "conflict")
        if first.outcome != "conflict":
            assert says(first.version) == says(second.version)
            merged += first.outcome == "merged"
    assert merged > 100


def test_nothing_is_lost_silently() -> None:
    """Unless the edit is the loser the row shows each of its changes; unless one of both is, also the held one's."""
    for rng in seeds(1500):
        before, one, other = ({name: rng.choice(SCALARS) for name in NAMES[:4]} for _ in range(3))
        declaration = any_declaration(rng, STRATEGIES, FALLBACKS)
        base, held, edit = version(before, 1), version(one, 2, 2, "n1"), version(other, 0, 1, "n2")
        verdict = judge(declaration, base, held, edit)
        row = decoded(verdict.version.body)
        shown = {None: (one, other), held: (other,), edit: ()}[verdict.loser]
        for now in shown:
            for name, value in now.items():
                if not same(value, before[name]):
                    assert same(row[name], value) or _by_lines(declaration, value)


def _by_lines(declaration: Declaration, value: object) -> bool:
    """`test_merging_fields` has what comes out."""
    return "text" in declaration.fields.values() and isinstance(value, str)


def test_disjoint_changes_are_both_kept() -> None:
    for rng in seeds(300):
        declaration = any_declaration(rng, ("merge",), FALLBACKS)
        body = any_body(rng)
        held, edit = version(body | {"h": 1}, 2, 2, "n1"), version(body | {"e": 1}, 0, 1, "n2")
        verdict = judge(declaration, version(body, 1), held, edit)
        assert verdict.loser is None
        assert same(decoded(verdict.version.body), body | {"h": 1, "e": 1})


def test_merging_with_itself_is_nothing() -> None:
    for rng in seeds(300):
        declaration = any_declaration(rng, STRATEGIES, FALLBACKS)
        base, held, _ = any_meeting(rng)
        again = Version(0, held.hlc, "n3", held.deleted, held.body)
        assert judge(declaration, base, held, again) == Verdict("lost", held)
        if "sum" not in declaration.fields.values():
            alike = Version(0, held.hlc + 1, "n3", held.deleted, held.body)
            assert judge(declaration, base, held, alike) == Verdict("lost", held)


def test_three_edits_in_any_order() -> None:
    rules: tuple[FieldRule, ...] = ("max", "min", "sum", "union")
    for rng, rule in itertools.product(seeds(60), rules):
        values: list[Json] = [
            {"x": rng.sample(range(6), 3) if rule == "union" else rng.randint(-5, 5)}
            for _ in range(4)
        ]
        found = set()
        for order in itertools.permutations((1, 2, 3)):
            held = version(values[0], 1)
            for n in order:
                edit = version(values[n], 0, n, f"n{n}")
                declaration = Declaration("merge", fallback="manual", fields={"x": rule})
                verdict = judge(declaration, version(values[0], 1), held, edit)
                assert verdict.outcome != "conflict"
                held = numbered(verdict.version, held.rev + 1)
            row = decoded(held.body)["x"]
            found.add(tuple(sorted(row)) if isinstance(row, list) else row)  # type: ignore[type-var]
        assert len(found) == 1
