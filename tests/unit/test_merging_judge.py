"""The verdict about an edit: the table of docs/reference/sync.md, repeats, clocks, and what is never read."""

import itertools
import json
from typing import Literal

import pytest
from tests.merging_cases import version

from skerry.core.merging import NOTHING, Verdict, Version, judge, rebase
from skerry.wire.shared import Declaration, Strategy

HUB = ""
Word = Literal["edit", "held", "waits", "newer"]
DECLARATIONS = {
    "last_modified": Declaration(strategy="last_modified"),
    "central_wins": Declaration(strategy="central_wins"),
    "edge_wins": Declaration(strategy="edge_wins"),
    "manual": Declaration(strategy="manual"),
    "merge, last_modified": Declaration(strategy="merge", fallback="last_modified"),
    "merge, central_wins": Declaration(strategy="merge", fallback="central_wins"),
    "merge, edge_wins": Declaration(strategy="merge", fallback="edge_wins"),
    "merge, manual": Declaration(strategy="merge", fallback="manual"),
}
BASE = version({"x": 1}, 1, 10, "n0")
KINDS: dict[str, tuple[dict[str, object] | None, dict[str, object] | None]] = {
    "edit/edit": ({"x": 2}, {"x": 3}),
    "delete/edit": (None, {"x": 3}),
    "edit/delete": ({"x": 2}, None),
}
WORDS: dict[str, dict[tuple[bool, bool], Word]] = {
    # by the hub: (held, edit)
    "last_modified": {
        (True, False): "newer", (False, True): "newer", (False, False): "newer", (True, True): "newer"
    },
    "central_wins": {
        (True, False): "held", (False, True): "edit", (False, False): "held", (True, True): "newer"
    },
    "edge_wins": {
        (True, False): "edit", (False, True): "held", (False, False): "newer", (True, True): "newer"
    },
    "manual": {
        (True, False): "waits", (False, True): "waits", (False, False): "waits", (True, True): "waits"
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by_hub", [(True, False), (False, True), (False, False), (True, True)])
@pytest.mark.parametrize("strategy", DECLARATIONS)
def test_two_versions_that_did_not_know_of_each_other(
    strategy: str, by_hub: tuple[bool, bool], kind: str
) -> None:
    """The five strategies, the fallbacks of «merge», and who wrote: nothing is lost without being returned."""
    word = WORDS[strategy.removeprefix("merge, ")][by_hub]
    for held_hlc, edit_hlc in ((20, 30), (30, 20)):
        held = version(KINDS[kind][0], 2, held_hlc, HUB if by_hub[0] else "n1")
        edit = version(KINDS[kind][1], 0, edit_hlc, HUB if by_hub[1] else "n2")
        wins = word if word != "newer" else "edit" if edit_hlc > held_hlc else "held"
        verdict = judge(DECLARATIONS[strategy], BASE, held, edit)
        expected = {
            "edit": ("edit", edit, held),
            "held": ("lost", held, edit),
            "waits": ("conflict", held, edit),
        }[wins]
        assert (verdict.outcome, verdict.version, verdict.loser) == expected


@pytest.mark.parametrize("origins", [(HUB, "n1"), ("n1", HUB), ("n1", "n2"), ("n1", "n1")])
@pytest.mark.parametrize("strategy", DECLARATIONS)
def test_no_conflict(strategy: str, origins: tuple[str, str]) -> None:
    declaration = DECLARATIONS[strategy]
    held_by, edit_by = origins
    for held_hlc, edit_hlc in ((20, 30), (30, 20)):
        held = version({"x": 2}, 2, held_hlc, held_by)
        for said in ({"x": 3}, None, {"x": 2}):
            edit = version(said, 0, edit_hlc, edit_by)
            assert judge(declaration, held, held, edit) == Verdict("edit", edit)
            assert judge(declaration, BASE, None, edit) == Verdict("edit", edit)
            assert judge(declaration, None, None, edit) == Verdict("edit", edit)
        alike = version({"x": 2}, 0, edit_hlc, "n3")
        assert judge(declaration, BASE, held, alike) == Verdict("lost", held)
        idle = version({"x": 1}, 0, edit_hlc, "n3")
        assert judge(declaration, BASE, held, idle) == Verdict("lost", held)
        back = version({"x": 1}, 2, held_hlc, held_by)
        other = version({"x": 3}, 0, edit_hlc, "n3")
        assert judge(declaration, BASE, back, other) == Verdict("edit", other)
        gone = version(None, 2, held_hlc, held_by)
        for base in (BASE, None, NOTHING):
            assert judge(declaration, base, gone, version(None, 0, edit_hlc, "n3")) == Verdict(
                "lost", gone
            )


@pytest.mark.parametrize("strategy", DECLARATIONS)
def test_the_order_of_keys_is_no_change(strategy: str) -> None:
    base = version({"a": 1, "b": 2}, 1, 10, "n0")
    held = version({"a": 1, "b": 3}, 2, 20, "n1")
    for said in ({"b": 2, "a": 1}, {"b": 3, "a": 1}):
        assert judge(DECLARATIONS[strategy], base, held, version(said, 0, 30, "n2")) == Verdict(
            "lost", held
        )


@pytest.mark.parametrize("strategy", DECLARATIONS)
@pytest.mark.parametrize("base", [BASE, None, NOTHING], ids=["base", "unknown", "new"])
def test_a_repeat_changes_nothing(strategy: str, base: Version | None) -> None:
    held = version({"x": 2}, 2, 30, "n1")
    again = version({"x": 2}, 0, 30, "n1")
    assert judge(DECLARATIONS[strategy], base, held, again) == Verdict("lost", held)
    before = version({"x": 9, "y": 1}, 0, 20, "n1")
    assert judge(DECLARATIONS[strategy], base, held, before) == Verdict("lost", held, before)


def test_two_hubs_whose_clocks_differ_merge() -> None:
    base, held = version({"a": 1, "b": 1}, 1), version({"a": 2, "b": 1}, 2, 30)
    verdict = judge(DECLARATIONS["merge, manual"], base, held, version({"a": 1, "b": 2}, 0, 20))
    assert verdict.version.body == b'{"a":2,"b":2}'


def test_without_a_conflict_no_body_is_read() -> None:
    held = Version(2, 20, "n1", deleted=False, body=b"unread")
    edit = Version(0, 30, "n2", deleted=False, body=b"not read")
    for declaration in DECLARATIONS.values():
        assert judge(declaration, held, held, edit) == Verdict("edit", edit)
        assert judge(declaration, None, None, edit) == Verdict("edit", edit)
        assert judge(declaration, BASE, held, numbered(held, rev=0)) == Verdict("lost", held)


def numbered(one: Version, rev: int) -> Version:
    return Version(rev, one.hlc, one.origin, one.deleted, one.body)


@pytest.mark.parametrize("year", [-1, 1])
def test_a_clock_that_is_a_year_off_is_never_a_reason_to_refuse(year: int) -> None:
    now = 1_790_000_000_000 << 16
    off = now + year * (365 * 86_400_000 << 16)
    held = version({"a": 2, "b": 1}, 2, now, "n1")
    base = version({"a": 1, "b": 1}, 1, 0, "n0")
    for strategy, declaration in DECLARATIONS.items():
        edit = version({"a": 1, "b": 2}, 0, off, "n2")
        verdict = judge(declaration, base, held, edit)
        if strategy.startswith("merge"):
            assert verdict.version.body == b'{"a":2,"b":2}'
        else:
            assert verdict.outcome in {"edit", "lost", "conflict"}
            assert verdict.loser in {held, edit}
        assert judge(declaration, held, held, edit) == Verdict("edit", edit)


def test_equal_clocks_fall_to_the_greater_origin() -> None:
    one, other = version({"x": 2}, 2, 20, "n1"), version({"x": 3}, 2, 20, "n2")
    assert judge(Declaration(), BASE, one, other).version == other
    assert judge(Declaration(), BASE, other, one).version == other


def test_a_row_that_both_made_is_merged_from_nothing() -> None:
    declaration = Declaration(strategy="merge", fallback="manual", fields={"n": "sum"})
    held, edit = version({"n": 3, "a": 1}, 2, 20, "n1"), version({"n": 5, "b": 1}, 0, 30, "n2")
    verdict = judge(declaration, NOTHING, held, edit)
    assert verdict.version.body == b'{"n":8,"a":1,"b":1}'
    assert judge(declaration, None, held, edit).outcome == "conflict"


def test_a_sum_is_right_in_every_order_and_never_doubles() -> None:
    declaration = Declaration(strategy="merge", fallback="manual", fields={"n": "sum"})
    base = version({"n": 100}, 1, 10, "n0")
    edits = [
        version({"n": 100 + delta}, 0, hlc, f"n{hlc}")
        for delta, hlc in ((1, 40), (-10, 20), (1000, 30), (10, 5))
    ]
    for order in itertools.permutations(edits):
        held = base
        for rev, edit in enumerate(order, start=2):
            for _ in range(3):
                verdict = judge(declaration, base, held, edit)
                if verdict.outcome in {"edit", "merged"}:
                    held = numbered(verdict.version, rev)
        assert held.body == b'{"n":1101}'


def test_one_version_told_by_two_nodes_is_added_once() -> None:
    """As when a hub that was put back learns again what it has lost."""
    declaration = Declaration(strategy="merge", fields={"n": "sum"})
    base, held = version({"n": 100}, 1, 10), version({"n": 105}, 2, 20, "n1")
    alike = version({"n": 105}, 0, 20, "n2")
    assert judge(declaration, base, held, alike, again=True) == Verdict("lost", held)
    other = judge(declaration, base, held, version({"n": 105}, 0, 21, "n2"))
    assert other.version.body == b'{"n":110}'


STRATEGIES: tuple[Strategy, ...] = (
    "last_modified", "central_wins", "edge_wins", "merge", "manual"
)  # fmt: skip


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_edit_upon_an_edit_that_was_accepted(strategy: Strategy) -> None:
    """The hub took the first edit as it was; the second goes on, whatever the strategy and the clocks say."""
    sent = version({"x": 2}, 1, 20, "n1")
    held = version({"x": 2}, 7, 20, "n1")
    edit = version({"x": 3}, 1, 15, "n1")
    assert rebase(Declaration(strategy=strategy), sent, held, edit) == Verdict("edit", edit)


def test_an_edit_upon_an_edit_that_was_merged() -> None:
    """The first added 5; the hub's row has that and another's 7, by a clock far ahead: the second adds its 1 to both."""
    declaration = Declaration(strategy="merge", fields={"n": "sum"})
    base = version({"n": 100}, 1, 10, "n0")
    sent, edit = version({"n": 105}, 0, 20, "n1"), version({"n": 106, "a": 1}, 0, 21, "n1")
    first = judge(declaration, base, version({"n": 107}, 2, 900, "n2"), sent)
    assert first.outcome == "merged"
    second = rebase(declaration, sent, numbered(first.version, 3), edit)
    assert (second.outcome, second.version.body) == ("merged", b'{"n":113,"a":1}')


def test_an_edit_upon_an_edit_that_was_merged_is_no_repeat() -> None:
    """A person has to decide about it, so the node sends it as it is, with the edit that it was made on."""
    declaration = DECLARATIONS["merge, manual"]
    base, sent = version({"a": 1}, 1, 10, "n0"), version({"a": 1, "b": 1}, -1, 20, "n1")
    merged = judge(declaration, base, version({"a": 2}, 2, 900, "n2"), sent).version
    edit = version({"a": 3, "b": 1}, -1, 21, "n1")
    verdict = judge(declaration, sent, numbered(merged, 3), edit)
    assert (verdict.outcome, verdict.contested) == ("conflict", ("a",))


@pytest.mark.parametrize("strategy", DECLARATIONS)
def test_a_node_that_got_no_answer_deletes_what_it_had_told(strategy: str) -> None:
    """After a new beginning all that it says of the row is the deletion, of a version that is not known: the strategy decides."""
    declaration = DECLARATIONS[strategy]
    held, gone = version({"x": 2}, 2, 20, "n1"), version(None, 0, 30, "n1")
    verdict = judge(declaration, NOTHING, held, gone)
    assert verdict == judge(declaration, None, held, gone)
    assert verdict.loser in {held, gone}
    if strategy == "last_modified":
        assert verdict == Verdict("edit", gone, held)
    older = version(None, 0, 10, "n1")
    assert judge(declaration, NOTHING, held, older) == Verdict("lost", held, older)
    others = version({"x": 2}, 2, 20, "n2")
    assert judge(declaration, NOTHING, others, gone) == Verdict("lost", others)


def test_two_nodes_that_count_by_the_same_clock_have_counted_twice() -> None:
    """Clocks that are behind go on from what they have heard, both alike. What is told again by two is one edit."""
    declaration = Declaration("merge", fields={"n": "sum"})
    held, edit = version({"n": 1}, 2, 20, "n1"), version({"n": 1}, 0, 20, "n2")
    both = judge(declaration, NOTHING, held, edit)
    assert both.outcome == "merged"
    assert json.loads(both.version.body) == {"n": 2}
    assert judge(declaration, NOTHING, held, edit, again=True) == Verdict("lost", held)
    assert judge(declaration, None, held, edit, again=True) == Verdict("lost", held)
