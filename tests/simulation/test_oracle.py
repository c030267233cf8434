"""The oracle of the simulation: what it complains about, and what it lets pass."""

import json
from collections import Counter

import pytest
from tests.simulation.oracle import (
    AtHub,
    Edit,
    Oracle,
    Stood,
    Written,
    differences,
    too_old,
    unshown,
)

PLACE = ("recipe", "a")


def at_hub(*records: tuple[tuple[str, int], str], row: str = "", history: str = "") -> AtHub:
    return AtHub(
        list(records),
        {PLACE: row} if row else {},
        [(PLACE, history)] if history else [],
        [],
    )


def edited(*edits: Edit) -> Oracle:
    return Oracle(edits={edit.token: edit for edit in edits})


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ([], "is lost"),
        ([(("s", 1), "v"), (("s", 1), "v")], "is there 2 times"),
        ([(("s", 1), "w")], "has another value"),
        ([(("s", 1), "v"), (("s", 2), "v")], "was never offered"),
    ],
    ids=["lost", "twice", "changed", "invented"],
)
def test_records_must_be_there_once_as_they_were(
    found: list[tuple[tuple[str, int], str]], complaint: str
) -> None:
    oracle = Oracle(records=[Written("n", {("s", 1): "v"}, accepted=True)])
    [wrong] = oracle.check(at_hub(*found))
    assert complaint in wrong


def test_a_record_that_nobody_was_answered_for_may_be_there_or_not() -> None:
    oracle = Oracle(records=[Written("n", {("s", 1): "v"})])
    assert oracle.check(at_hub()) == oracle.check(at_hub((("s", 1), "v"))) == []


def test_an_edit_must_be_the_row_or_kept_or_replaced_by_who_knew_it() -> None:
    edit = Edit("n", PLACE, "t1.", accepted=True)
    later = Edit("n", PLACE, "t2.", frozenset({"t1."}), accepted=True)
    assert edited(edit).check(at_hub(row='{"t":"t1."}')) == []
    assert edited(edit).check(at_hub(row='{"t":"x"}', history='{"t":"t1."}')) == []
    assert edited(edit, later).check(at_hub(row='{"t":"t2."}')) == []
    [wrong] = edited(edit).check(at_hub(row='{"t":"x"}'))
    assert "edit t1." in wrong
    [wrong] = edited(edit, later).check(at_hub(row='{"t":"t1."}', history='{"t":"t2."}'))
    assert "again" in wrong


def test_an_edit_that_was_undone_answers_for_no_other() -> None:
    edit = Edit("n", PLACE, "t1.", accepted=True)
    undone = Edit("n", PLACE, "t2.", frozenset({"t1."}), accepted=True)
    oracle = edited(edit, undone)
    oracle.forget_edits(lambda each: each is undone, at_hub(), undone=True)
    [wrong] = oracle.check(at_hub())
    assert "edit t1." in wrong


def test_a_row_with_one_writer_is_what_it_wrote_last() -> None:
    oracle = Oracle(owned={PLACE: None})
    assert oracle.check(at_hub()) == []
    assert len(oracle.check(at_hub(row='{"t":"t1."}'))) == 1
    oracle.owned[PLACE] = "t2."
    assert len(oracle.check(at_hub(row='{"t":"t1."}'))) == 1
    assert oracle.check(at_hub(row='{"t":"t2."}')) == []


def test_sums_are_what_was_added() -> None:
    place = ("merged", "a")
    oracle = Oracle(added=Counter({place: 2}), may_add=Counter({place: 3}))
    for found, complaints in ((1, 1), (2, 0), (3, 0), (4, 1)):
        hub = AtHub([], {place: f'{{"n":{found}}}'}, [], [])
        assert len(oracle.check(hub)) == complaints


def test_nodes_must_have_what_the_hub_has_and_show_what_waits() -> None:
    assert differences("n", {PLACE: "{}"}, {PLACE: "{}"}) == []
    assert len(differences("n", {}, {PLACE: "{}"})) == 1
    assert unshown([(PLACE, "n")], {"n": {PLACE}}) == []
    assert len(unshown([(PLACE, "n")], {"n": set()})) == 1


def winners(entity: str, row: str, *edits: Edit) -> list[str]:
    hub = AtHub([], {(entity, "a"): json.dumps({"t": row})}, [], [])
    return edited(*edits).check_winners(hub, clocks_were_right=True)


def made(entity: str, token: str, node: str, at: float, *answers_for: str) -> Edit:
    return Edit(node, (entity, "a"), token, frozenset(answers_for), accepted=True, at=at)


def test_the_newest_edit_wins_by_clocks_that_are_right() -> None:
    edits = [made("newest", "t1.", "n0", 1.0), made("newest", "t2.", "n1", 2.0)]
    assert winners("newest", "t2.", *edits) == []
    assert winners("newest", "t1.", *edits) == ["row ('newest', 'a') is t1., t2. should have won"]
    hub = AtHub([], {("newest", "a"): '{"t": "t1."}'}, [], [])
    assert edited(*edits).check_winners(hub, clocks_were_right=False) == []
    oracle = edited(*edits)
    oracle.deleted.add(("newest", "a"))
    assert oracle.check_winners(hub, clocks_were_right=True) == []


def test_central_wins_over_whoever_did_not_know() -> None:
    edits = [
        made("central", "h1.", "hub", 1.0),
        made("central", "t1.", "n0", 2.0),
        made("central", "t2.", "n1", 2.0, "h1."),
        made("central", "t3.", "n1", 3.0, "t2."),
    ]
    assert winners("central", "t3.", *edits) == winners("central", "h1.", *edits) == []
    assert len(winners("central", "t1.", *edits)) == 1


def test_the_edge_wins_over_what_the_hub_did_before() -> None:
    edits = [made("edge", "t1.", "n0", 1.0), made("edge", "h1.", "hub", 2.0)]
    assert winners("edge", "h1.", *edits) == winners("edge", "t1.", *edits) == []
    assert len(winners("edge", "h1.", *edits, made("edge", "t2.", "n1", 3.0))) == 1


def test_a_union_has_everything() -> None:
    edit = Edit("n0", ("merged", "a"), "t1.", accepted=True, field="tags")
    for tags, complaints in (["t1.", "t2."], 0), (["t2."], 1):
        hub = AtHub([], {("merged", "a"): json.dumps({"tags": tags})}, [], [])
        assert len(edited(edit).check_winners(hub, clocks_were_right=True)) == complaints


@pytest.mark.parametrize(
    ("before", "edit", "after", "complaints"),
    [(5, 3, 5, 0), (3, 5, 5, 0), (5, 3, 3, 1), (3, 5, 3, 1)],
    ids=["as-late", "as-late-as-the-edit", "older-than-the-row", "older-than-the-edit"],
)
def test_a_merged_row_must_be_as_late_as_both(
    before: int, edit: int, after: int, complaints: int
) -> None:
    versions = [
        Stood(PLACE, 1, before, was_row=True, why="superseded"),
        Stood(PLACE, 2, edit, was_row=False, why="merged"),
        Stood(PLACE, 3, after, was_row=True),
    ]
    assert len(too_old(versions)) == complaints
