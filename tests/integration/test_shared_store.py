"""Shared rows in a node's store: edits, what is frozen of them, what the hub's answers and changes make of them."""

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.shared_node import SharedNode, of_hub, sums_of

from skerry.kit.errors import InvalidInput, NotFound, TooLarge
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.store.shared_frames import MAX_FRAME
from skerry.node.store.state import NodeStore
from skerry.testing.manual_clock import ManualClock
from skerry.wire.entities import Find
from skerry.wire.shared import MAX_ROW, Declaration, Judged, RowsPart
from skerry.wire.sync import LanePoint

NAME = "recipe"


@pytest.fixture
async def node(memory_dir: Path, manual_clock: ManualClock) -> AsyncIterator[SharedNode]:
    node = SharedNode(memory_dir, manual_clock)
    await node.rows.declare(NAME, Declaration(strategy="merge"))
    yield node
    node.close()


async def test_rows_are_read_as_they_were_written(node: SharedNode) -> None:
    await node.program.put(NAME, "b", b'{"x": 1}')
    await node.program.bulk(NAME, [("a", b"{}"), ("c/1", b'{"y":[]}'), ("c/2", b"{}")])
    assert await node.body(NAME, "b") == b'{"x":1}'
    assert [row.id for row in await node.program.list(NAME)] == ["a", "b", "c/1", "c/2"]
    assert [row.id for row in await node.program.list(NAME, "c/")] == ["c/1", "c/2"]
    assert (await node.program.entities.count(NAME, Find())).rows == 4
    assert await node.program.delete(NAME, "b")
    assert not await node.program.delete(NAME, "b")
    assert (await node.program.entities.count(NAME, Find())).rows == 3


async def test_a_row_that_no_hub_would_take_is_not_kept(node: SharedNode) -> None:
    most = b'{"t":"%s"}' % (b"x" * (MAX_ROW - 8))
    await node.program.put(NAME, "a", most)
    assert await node.body(NAME, "a") == most
    grows = b'{"n":[%s]}' % b",".join([b"1e15"] * 60_000)  # each is written with 18 characters
    for body in (b'{"t":"%s"}' % (b"x" * (MAX_ROW - 7)), grows):
        with pytest.raises(TooLarge, match="row «b» of «recipe»: it would have .* at most 1048576"):
            await node.program.put(NAME, "b", body)
    assert await node.body(NAME, "b") is None


async def test_wrong_words_are_refused(node: SharedNode) -> None:
    with pytest.raises(NotFound, match="does not have it"):
        await node.program.put("other", "a", b"{}")
    for row_id, body in (
        ("", b"{}"),
        ("a\n", b"{}"),
        ("a" * 201, b"{}"),
        ("a", b"[]"),
        ("a", b"{"),
    ):
        with pytest.raises(InvalidInput):
            await node.program.put(NAME, row_id, body)
    for name in ("entity", "Recipe", ""):
        with pytest.raises(InvalidInput):
            await node.rows.declare(name, Declaration())


async def test_a_declaration_is_a_row_that_travels(node: SharedNode) -> None:
    (edit,) = await node.push("rows-high")
    assert (edit.id, json.loads(bytes(edit.body))["strategy"]) == (NAME, "merge")
    await node.answer([3], lane="rows-high")
    await node.pull("entity", of_hub(NAME, 9, b'{"strategy":"manual","priority":"low"}'))
    assert node.rows.declaration(NAME) == Declaration(strategy="manual", priority="low")
    await node.program.put(NAME, "a", b"{}")
    assert [edit.id for edit in await node.push("rows-low")] == ["a"]


async def test_edits_coalesce_until_they_are_frozen_and_are_known_after_the_answer(
    node: SharedNode,
) -> None:
    await node.program.put(NAME, "a", b'{"x":1}')
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.program.put(NAME, "a", b'{"x":2}')
    assert await node.status(NAME, "a") == "pending"
    (edit,) = await node.push()
    assert (edit.base, edit.kind, bytes(edit.body)) == (0, "put", b'{"x":2}')
    assert await node.status(NAME, "a") == "syncing"
    assert await node.push() == [edit]  # the same again, whatever was cut
    await node.answer([5])
    row = await node.program.get(NAME, "a")
    assert row is not None
    assert (row.status, row.rev) == ("synced", 5)
    assert await node.push() == []
    assert node.pulled.digest(NAME) == sums_of(("a", 5, b'{"x":2}'))


async def test_an_edit_of_a_row_from_the_hub_names_its_revision_and_leaves_the_digest(
    node: SharedNode,
) -> None:
    await node.hold(NAME, "a", b'{"x":1}')
    before = node.pulled.digest(NAME)
    assert before == sums_of(("a", 7, b'{"x":1}'))
    await node.program.put(NAME, "a", b'{"x":2}')
    assert node.pulled.digest(NAME) == before
    assert [(edit.base, edit.kind) for edit in await node.push()] == [(7, "put")]
    await node.answer([8])
    assert node.pulled.digest(NAME) == sums_of(("a", 8, b'{"x":2}'))


async def test_an_edit_that_the_hub_refuses_counts_as_failed_and_is_kept(node: SharedNode) -> None:
    await node.program.put(NAME, "a", b"{}")
    (edit,) = await node.push()
    await node.frames.failing("rows-medium", 1)
    assert await node.status(NAME, "a") == "failed"
    assert await node.push() == [edit]
    await node.answer([5])
    assert await node.status(NAME, "a") == "synced"


async def test_a_new_incarnation_sends_again_what_was_on_its_way(
    node: SharedNode, memory_dir: Path, manual_clock: ManualClock
) -> None:
    await node.program.put(NAME, "a", b"{}")
    await node.push()
    await node.answer([1])
    await node.program.put(NAME, "a", b'{"x":1}')
    (edit,) = await node.push()
    store = NodeStore(memory_dir / "node.db", node.writer, manual_clock, "node-1", NullCipher())
    await store.open()
    await store.new_incarnation()
    store.close()
    assert await node.frames.point("rows-medium") == LanePoint()
    assert await node.frames.frames("rows-medium", 0, 10) == []
    assert await node.push() == [edit]
    assert [frame.n for frame in await node.frames.frames("rows-medium", 0, 10)] == [1]


async def test_a_large_body_goes_as_a_patch_and_whole_when_the_hub_asks(node: SharedNode) -> None:
    large = {"text": "y" * 5000, "n": 1}
    await node.hold(NAME, "a", json.dumps(large, separators=(",", ":")).encode())
    await node.program.put(NAME, "a", json.dumps(large | {"n": 2}).encode())
    (edit,) = await node.push()
    assert edit.kind == "patch"
    assert len(bytes(edit.body)) < 100
    await node.answer([0], Judged(0, "whole"))
    (again,) = await node.push()
    assert (again.kind, again.base) == ("put", 7)
    assert json.loads(bytes(again.body))["n"] == 2
    assert json.loads(bytes(again.base_body)) == large
    await node.answer([9])
    assert node.pulled.digest(NAME) == sums_of(("a", 9, bytes(again.body)))


async def test_deletions_are_tombstones_until_the_hub_has_them(node: SharedNode) -> None:
    await node.hold(NAME, "a", b"{}")
    await node.program.put(NAME, "new", b"{}")
    await node.program.delete(NAME, "new")  # nobody has seen it
    await node.program.delete(NAME, "a")
    assert await node.body(NAME, "a") is None
    assert [(edit.id, edit.kind, edit.base) for edit in await node.push()] == [("a", "delete", 7)]
    await node.answer([8])
    assert node.pulled.digest(NAME) == sums_of()
    await node.program.put(NAME, "a", b'{"x":1}')
    assert [(edit.id, edit.base) for edit in await node.push()] == [("a", 0)]


async def test_a_row_that_others_made_too_is_not_taken_back_alone(node: SharedNode) -> None:
    await node.program.put(NAME, "a", b'{"x":1}')
    await node.pull(NAME, of_hub("a", 7, b'{"x":9}'))
    await node.program.delete(NAME, "a")  # which the hub may not let
    assert [(edit.id, edit.kind, edit.base) for edit in await node.push()] == [("a", "delete", 0)]
    await node.answer([7], Judged(0, "lost", of_hub("a", 7, b'{"x":9}')))
    assert await node.body(NAME, "a") == b'{"x":9}'
    assert node.pulled.digest(NAME) == sums_of(("a", 7, b'{"x":9}'))


async def test_what_the_hub_prefers_takes_the_place_of_the_edit(node: SharedNode) -> None:
    await node.hold(NAME, "a", b'{"x":1}')
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.push()
    await node.answer([11], Judged(0, "merged", of_hub("a", 11, b'{"x":2,"y":3}')))
    assert await node.body(NAME, "a") == b'{"x":2,"y":3}'
    assert node.pulled.digest(NAME) == sums_of(("a", 11, b'{"x":2,"y":3}'))
    await node.program.put(NAME, "a", b'{"x":5}')
    await node.push()
    await node.answer([12], Judged(0, "lost", of_hub("a", 12, deleted=True)))
    assert await node.body(NAME, "a") is None
    assert node.pulled.digest(NAME) == sums_of()


async def test_a_conflict_waits_and_the_accepted_version_serves(node: SharedNode) -> None:
    await node.hold(NAME, "a", b'{"x":1}')
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.push()
    await node.answer([9], Judged(0, "conflict", of_hub("a", 9, b'{"x":3}')))
    assert await node.body(NAME, "a") == b'{"x":3}'
    assert await node.status(NAME, "a") == "conflict"
    (conflict,) = await node.frames.conflicts(NAME)
    assert (conflict.id, conflict.base, conflict.ours) == ("a", b'{"x":1}', b'{"x":2}')
    await node.program.settle(NAME, "a", b'{"x":3}')
    (edit,) = await node.push()
    assert (edit.settles, edit.base) == (True, 9)
    await node.answer([10])
    assert await node.status(NAME, "a") == "synced"


async def test_a_conflict_ends_when_a_person_has_decided_at_the_hub(node: SharedNode) -> None:
    for row_id in ("a", "b"):
        await node.program.put(NAME, row_id, b'{"x":2}')
    await node.push()
    rows = [of_hub(row_id, 9, b'{"x":3}') for row_id in ("a", "b")]
    await node.answer([9, 9], *(Judged(at, "conflict", row) for at, row in enumerate(rows)))
    undecided = node.pulled.undecided(NAME)
    part = RowsPart(NAME, [of_hub("a", 10, b'{"x":2}')], "c", more=False, waiting=["b"])
    await node.pulled.apply_part(part, frozenset())
    assert await node.status(NAME, "a") == "conflict"  # it may be newer than the answer
    await node.pulled.apply_part(part, undecided)
    assert await node.status(NAME, "a") == "synced"
    assert await node.status(NAME, "b") == "conflict"


async def test_an_edit_made_meanwhile_follows_on_what_the_hub_has(node: SharedNode) -> None:
    await node.hold(NAME, "a", b'{"x":1,"y":1}')
    await node.program.put(NAME, "a", b'{"x":2,"y":1}')
    await node.push()
    await node.program.put(NAME, "a", b'{"x":2,"y":1,"z":1}')
    assert [edit.id for edit in await node.push()] == ["a"]  # the same frame: the next edit waits
    await node.answer([9], Judged(0, "merged", of_hub("a", 9, b'{"x":2,"y":5}')))
    assert await node.body(NAME, "a") == b'{"x":2,"y":5,"z":1}'
    assert node.pulled.digest(NAME) == sums_of(("a", 9, b'{"x":2,"y":5}'))
    (edit,) = await node.push()
    assert (edit.base, bytes(edit.body)) == (9, b'{"x":2,"y":5,"z":1}')
    await node.answer([10])
    assert await node.status(NAME, "a") == "synced"


async def test_an_edit_made_meanwhile_waits_and_is_based_on_the_one_before(
    node: SharedNode,
) -> None:
    await node.program.put(NAME, "a", b'{"x":1}')
    await node.push()
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.answer([9])
    assert await node.status(NAME, "a") == "pending"
    assert await node.body(NAME, "a") == b'{"x":2}'
    assert node.pulled.digest(NAME) == sums_of(("a", 9, b'{"x":1}'))
    (edit,) = await node.push()
    assert (edit.base, bytes(edit.body)) == (9, b'{"x":2}')
    await node.program.delete(NAME, "a")
    await node.answer([10])
    assert [(edit.kind, edit.base) for edit in await node.push()] == [("delete", 10)]
    await node.answer([11])
    assert node.pulled.digest(NAME) == sums_of()


@pytest.mark.parametrize("strategy", ["central_wins", "manual"])
async def test_an_edit_made_meanwhile_that_would_lose_is_judged_by_the_hub(
    node: SharedNode, strategy: str
) -> None:
    await node.rows.declare(NAME, Declaration(strategy=strategy))  # type: ignore[arg-type]
    await node.hold(NAME, "a", b'{"x":1}')
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.push()
    await node.program.put(NAME, "a", b'{"x":3}')
    await node.answer([9], Judged(0, "lost", of_hub("a", 9, b'{"x":7}')))
    (edit,) = await node.push()
    assert (edit.base, bytes(edit.body), bytes(edit.base_body)) == (-1, b'{"x":3}', b'{"x":2}')
    await node.answer([9], Judged(0, "lost", of_hub("a", 9, b'{"x":7}')))
    assert await node.body(NAME, "a") == b'{"x":7}'
    assert await node.status(NAME, "a") == "synced"


async def test_an_edit_made_meanwhile_of_which_a_field_would_lose_is_judged_by_the_hub(
    node: SharedNode,
) -> None:
    await node.hold(NAME, "a", b'{"x":1}')
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.push()
    await node.program.put(NAME, "a", b'{"x":3,"y":1}')
    late = await node.program.get(NAME, "a")
    assert late is not None
    await node.answer([9], Judged(0, "lost", of_hub("a", 9, b'{"x":7}', hlc=late.revision + 1)))
    (edit,) = await node.push()  # the hub keeps what loses; here nobody would know of it
    assert (edit.base, bytes(edit.body)) == (-1, b'{"x":3,"y":1}')
    assert bytes(edit.base_body) == b'{"x":2}'


async def test_everything_survives_a_restart(
    node: SharedNode, memory_dir: Path, manual_clock: ManualClock
) -> None:
    await node.hold(NAME, "a", b'{"x":1}')
    await node.program.put(NAME, "a", b'{"x":2}')
    (edit,) = await node.push()
    other = SharedNode(memory_dir, manual_clock)
    assert await other.push() == [edit]
    await other.answer([9])
    manual_clock.advance(-86_400.0)  # the clock was set back by a day
    later = SharedNode(memory_dir, manual_clock)
    await later.program.put(NAME, "a", b'{"x":3}')
    assert (await later.push())[0].hlc > edit.hlc
    later.close()
    other.close()


async def test_of_new_rows_only_those_that_were_edited_meanwhile_stay_unsent(
    node: SharedNode,
) -> None:
    await node.pull(NAME)
    await node.program.bulk(NAME, [(name, b'{"n":1}') for name in "abcd"])
    assert [edit.id for edit in await node.push()] == ["a", "b", "c", "d"]
    await node.program.put(NAME, "b", b'{"n":2}')
    await node.program.delete(NAME, "c")
    await node.pull(NAME, of_hub("d", 99, b'{"n":9}', origin="node-2"))
    await node.answer([11, 12, 13, 14])
    assert [await node.status(NAME, name) for name in "abd"] == ["synced", "pending", "synced"]
    assert list(node.pulled.wanted(NAME, 10)) == ["d"]
    one = b'{"n":1}'
    assert node.pulled.digest(NAME) == sums_of(
        *((row, rev, one) for rev, row in enumerate("abcd", 11))
    )
    again = {edit.id: (edit.base, edit.kind) for edit in await node.push()}
    assert again == {"b": (12, "put"), "c": (13, "delete")}


async def test_a_large_frame_is_the_same_after_a_restart(
    node: SharedNode, memory_dir: Path, manual_clock: ManualClock
) -> None:
    rows = [(f"r{number}", b'{"t":"%s"}' % (b"x" * 100)) for number in range(100)]
    await node.program.bulk(NAME, rows)
    await node.push()
    [before] = await node.frames.frames("rows-medium", 0, 1)
    node.close()
    found = SharedNode(memory_dir, manual_clock)
    [after] = await found.frames.frames("rows-medium", 0, 1)
    assert after == before
    assert len(after.body) > len(rows) * 100
    await found.answer(range(1, len(rows) + 1))
    assert {await found.status(NAME, row_id) for row_id, _ in rows} == {"synced"}
    assert found.pulled.digest(NAME) == sums_of(
        *((row_id, rev, body) for rev, (row_id, body) in enumerate(rows, 1))
    )
    found.close()


async def test_a_frame_of_a_transaction_that_was_undone_is_not_sent(node: SharedNode) -> None:
    await node.program.put(NAME, "a", b'{"n":1}')

    def undone(db: sqlite3.Connection) -> None:
        assert node.frames._freeze(db, "rows-medium", MAX_FRAME)
        raise ValueError("undone")

    with pytest.raises(ValueError, match="undone"):
        await node.rows.writer.run(undone, label="undone")
    await node.program.put(NAME, "a", b'{"n":2}')
    [edit] = await node.push()
    assert bytes(edit.body) == b'{"n":2}'
    await node.answer([5])
    assert node.pulled.digest(NAME) == sums_of(("a", 5, b'{"n":2}'))


@pytest.mark.parametrize("seconds", [20, 3600], ids=["a little", "an hour"])
async def test_an_edit_is_later_than_the_row_of_another_that_it_is_made_on(
    memory_dir: Path, manual_clock: ManualClock, seconds: int
) -> None:
    """Also after a start, and however slow the node's clock is."""
    node = SharedNode(memory_dir, manual_clock)
    await node.rows.declare(NAME, Declaration())
    ahead = (manual_clock.wall_ns() // 1_000_000 + seconds * 1000) << 16
    await node.pull(NAME, of_hub("a", 7, b'{"x":1}', hlc=ahead), of_hub("b", 8, b"{}", hlc=ahead))
    node.close()
    node = SharedNode(memory_dir, manual_clock)
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.program.delete(NAME, "b")
    edits = [(edit.kind, edit.hlc > ahead) for edit in await node.push()]
    assert edits == [("put", True), ("delete", True)]
    node.close()


async def test_a_row_made_anew_is_later_than_its_deletion(
    memory_dir: Path, manual_clock: ManualClock
) -> None:
    """The deletion leaves nothing here but the time that it told of."""
    node = SharedNode(memory_dir, manual_clock)
    await node.rows.declare(NAME, Declaration())
    ahead = (manual_clock.wall_ns() // 1_000_000 + 50_000) << 16
    await node.hold(NAME, "a", b"{}")
    await node.pull(NAME, of_hub("a", 8, hlc=ahead, deleted=True))
    node.close()
    node = SharedNode(memory_dir, manual_clock)
    await node.program.put(NAME, "a", b'{"x":2}')
    [edit] = await node.push()
    assert edit.hlc > ahead
    node.close()
