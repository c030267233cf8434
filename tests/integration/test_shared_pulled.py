"""Shared rows in a node's store: what the hub's changes and its repairs make of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.shared_node import SharedNode, of_hub, sums_of

from skerry.core.merging import mark
from skerry.core.row_digests import bucket_of
from skerry.node.store.shared_answers import UNNUMBERED
from skerry.testing.manual_clock import ManualClock
from skerry.wire.shared import BUCKETS, Declaration, Held

NAME = "recipe"


@pytest.fixture
async def node(memory_dir: Path, manual_clock: ManualClock) -> AsyncIterator[SharedNode]:
    node = SharedNode(memory_dir, manual_clock)
    await node.rows.declare(NAME, Declaration(strategy="merge"))
    yield node
    node.close()


async def test_the_first_changes_ask_for_rows_that_the_hub_has_of_the_node_and_does_not_name(
    node: SharedNode,
) -> None:
    """They are without what was deleted, and some may have been."""
    for row_id in ("a", "b", "c"):
        await node.program.put(NAME, row_id, b"{}")
    await node.push()
    await node.answer([7, 8, 9])
    await node.program.put(NAME, "d", b"{}")
    await node.pull(NAME, of_hub("b", 8))
    assert list(node.pulled.wanted(NAME, 10)) == ["a", "c"]
    await node.pull(NAME, of_hub("c", 9), cursor="later")
    assert list(node.pulled.wanted(NAME, 10)) == ["a"]
    await node.pulled.take_whole(NAME, [of_hub("a", 12, deleted=True)], {"a": 7})
    assert [row.id for row in await node.program.list(NAME)] == ["b", "c", "d"]


@pytest.mark.guarantee("G1")
async def test_a_row_that_a_hub_lacks_which_was_put_back_is_sent_again(node: SharedNode) -> None:
    """Its first changes do not name the row, which it had taken before: so it is asked for."""
    for row_id in ("a", "b"):
        await node.program.put(NAME, row_id, b'{"x":1}')
    await node.push()
    await node.answer([7, 8])
    await node.pulled.hub_went_back()
    await node.pull(NAME)
    await node.program.put(NAME, "b", b'{"x":2}')
    seen = node.rows.changed.count
    await node.pulled.take_whole(NAME, [], node.pulled.wanted(NAME, 10))
    assert node.rows.changed.count > seen
    assert {edit.id: edit.base for edit in await node.push()} == {"a": UNNUMBERED, "b": 8}
    assert await node.body(NAME, "a") == b'{"x":1}'


async def test_a_row_that_was_asked_for_is_not_put_back_by_an_older_answer(
    node: SharedNode,
) -> None:
    await node.program.put(NAME, "a", b'{"x":1}')
    await node.push()
    await node.pull(NAME)
    asked = node.pulled.wanted(NAME, 10)
    await node.answer([9])  # comes before what was answered earlier: that there is no such row
    await node.pulled.take_whole(NAME, [], asked)
    assert await node.body(NAME, "a") == b'{"x":1}'
    assert node.pulled.wanted(NAME, 10) == {"a": 9}
    await node.pulled.take_whole(NAME, [of_hub("a", 9, b'{"x":1}')], {"a": 9})
    assert node.pulled.wanted(NAME, 10) == {}


async def test_an_edited_row_is_left_alone_and_asked_for_when_the_answer_was_older(
    node: SharedNode,
) -> None:
    await node.hold(NAME, "a", b'{"x":1}')
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.push()
    await node.pull(NAME, of_hub("a", 12, b'{"x":9}'))
    assert await node.body(NAME, "a") == b'{"x":2}'
    await node.answer([11])  # given before the other's edit
    assert list(node.pulled.wanted(NAME, 10)) == ["a"]
    await node.pulled.take_whole(NAME, [of_hub("a", 12, b'{"x":9}')], {"a": 11})
    assert await node.body(NAME, "a") == b'{"x":9}'
    assert list(node.pulled.wanted(NAME, 10)) == []
    assert node.pulled.digest(NAME) == sums_of(("a", 12, b'{"x":9}'))


async def test_changes_come_once_and_deletions_and_patches_with_them(node: SharedNode) -> None:
    large = b'{"t":"%s","n":1}' % (b"y" * 2000)
    await node.pull(NAME, of_hub("a", 7, large), of_hub("b", 8, b"{}"))
    await node.pull(NAME, of_hub("a", 7, b'{"older":1}'), of_hub("b", 9, deleted=True))
    assert await node.body(NAME, "a") == large
    patch = of_hub("a", 10, b'[[["n"],2]]')
    patched = type(patch)(*(getattr(patch, name) for name in patch.__struct_fields__[:-1]), 7)
    await node.pull(NAME, patched, cursor="later")
    now = large.replace(b'"n":1', b'"n":2')
    assert await node.body(NAME, "a") == now
    assert node.pulled.digest(NAME) == sums_of(("a", 10, now))
    assert node.pulled.cursors()[NAME] == "later"


def at_hub(row_id: str, rev: int, body: bytes, hlc: int = 0) -> Held:
    return Held(row_id, rev, hlc or rev << 16, mark(row_id, rev, body))


@pytest.mark.parametrize("lost", [False, True])
async def test_repair_of_what_differs(node: SharedNode, lost: bool) -> None:
    await node.pull(
        NAME, of_hub("same", 3, b"{}"), of_hub("gone", 4, b"{}"), of_hub("older", 5, b"{}"),
        of_hub("newer", 9, b'{"n":1}'),
    )  # fmt: skip
    await node.program.put(NAME, "edited", b"{}")
    rows = [
        at_hub("same", 3, b"{}"), at_hub("older", 6, b'{"x":1}'), at_hub("newer", 2, b'{"n":0}'),
        at_hub("missing", 1, b"{}"),
    ]  # fmt: skip
    differing = {
        bucket: [row for row in rows if bucket_of(row.id) == bucket] for bucket in range(BUCKETS)
    }
    await node.pulled.reconcile(NAME, differing, lost=lost)
    wanted = ["missing", "older"] if lost else ["missing", "newer", "older"]
    assert list(node.pulled.wanted(NAME, 10)) == wanted
    assert (await node.body(NAME, "gone") is not None) == lost
    sent = {edit.id: (edit.base, edit.hlc) for edit in await node.push()}
    assert sent.pop("edited")[0] == 0
    assert sent == ({"gone": (UNNUMBERED, 4 << 16), "newer": (2, 9 << 16)} if lost else {})


@pytest.mark.parametrize("pages", [1, 2], ids=["alone", "with a deletion"])
async def test_an_edit_is_later_than_what_it_was_made_on(node: SharedNode, pages: int) -> None:
    ahead = node.rows.hlc.tick() + (30_000 << 16)  # the hub's clock, by half a minute
    rows = [of_hub("a", 7, hlc=ahead), of_hub("gone", 8, deleted=True)]
    await node.pull(NAME, *rows[:pages])
    await node.program.put(NAME, "a", b'{"x":1}')
    [edit] = await node.push()
    assert edit.hlc > ahead
