"""What a node's settings say of its shared rows: who wins, which lane, how many together, and when."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.shared_node import SharedNode, of_hub

from skerry.core.synced_words import EntityWords
from skerry.node.store.entity_rows import EntityRows
from skerry.testing.manual_clock import ManualClock
from skerry.wire.entities import Declare
from skerry.wire.shared import Declaration

NAME = "recipe"
WORDS = {NAME: EntityWords("merge", fields={"n": "sum"}, priority="low", batch_size=2)}


@pytest.fixture
async def node(memory_dir: Path, manual_clock: ManualClock) -> AsyncIterator[SharedNode]:
    node = SharedNode(memory_dir, manual_clock, words=WORDS, every={NAME: 60.0}, most=4096)
    yield node
    node.close()


async def declared(node: SharedNode, asked: Declaration) -> Declaration:
    found = await EntityRows(node.rows, node.frames).declare(NAME, Declare(asked))
    return found.declaration


async def test_the_settings_say_who_wins_for_the_programs_of_the_node(node: SharedNode) -> None:
    said = await declared(node, Declaration("central_wins", fields={"m": "max"}))
    assert said == Declaration("merge", fields={"m": "max", "n": "sum"})
    assert await declared(node, Declaration("central_wins", fields={"m": "max"})) == said


async def test_what_the_fleet_has_declared_holds_and_contradicts_no_program(
    node: SharedNode,
) -> None:
    await node.rows.declare(NAME, Declaration("edge_wins"))
    assert (await declared(node, Declaration("manual"))).strategy == "edge_wins"


async def test_what_the_hubs_file_says_contradicts_no_program(node: SharedNode) -> None:
    told = Declaration("manual", priority="high", batch_size=5, settled=["strategy", "priority"])
    await node.rows.declare(NAME, told)
    assert await declared(node, Declaration("central_wins", batch_size=5)) == msgspec.structs.replace(told, fields={})  # fmt: skip


async def test_priority_and_batches_are_this_nodes_and_do_not_travel(node: SharedNode) -> None:
    await node.rows.declare(NAME, Declaration(priority="high", batch_size=50))
    assert node.rows.said[NAME] == Declaration(priority="high", batch_size=50)
    for number in range(3):
        await node.program.put(NAME, f"r{number}", b"{}")
    assert [edit.id for edit in await node.push("rows-high")] == [NAME]  # its declaration
    assert [edit.id for edit in await node.push("rows-low")] == ["r0", "r1"]


async def test_a_frame_is_no_larger_than_a_piece_of_the_link(node: SharedNode) -> None:
    await node.rows.declare("large", Declaration())
    for number in range(3):
        await node.program.put("large", f"r{number}", b'{"t":"%s"}' % (b"x" * 1500))
    assert [edit.id for edit in await node.push()] == ["r0", "r1"]


async def test_edits_wait_for_their_schedule(node: SharedNode, manual_clock: ManualClock) -> None:
    await node.rows.declare(NAME, Declaration())
    schedule, lane = node.schedule, "rows-low"
    assert schedule.come()  # the first time is at the start
    await node.program.put(NAME, "a", b"{}")
    assert [edit.id for edit in await node.push(lane)] == ["a"]
    await node.answer([1], lane=lane)
    assert not await node.frames.freeze(lane)  # nothing of it waits any more: closed
    schedule.pulled([NAME])
    await node.program.put(NAME, "b", b"{}")
    assert await node.push(lane) == []
    assert not await node.frames.has_waiting(lane)
    assert await node.frames.unsent(lane) == 1
    assert (schedule.may_pull(NAME), schedule.may_pull("other")) == (False, True)
    assert schedule.wait(600.0) == 60.0
    assert not schedule.come()
    manual_clock.advance(60.0)
    assert schedule.come()
    assert schedule.may_pull(NAME)
    assert [edit.id for edit in await node.push(lane)] == ["b"]


async def test_somebody_who_asks_need_not_wait(node: SharedNode) -> None:
    await node.rows.declare(NAME, Declaration())
    await node.frames.freeze("rows-low")
    await node.program.put(NAME, "a", b"{}")
    assert await node.push("rows-low") == []
    node.schedule.come_now()
    assert len(await node.push("rows-low")) == 1


async def test_high_priority_does_not_wait(memory_dir: Path, manual_clock: ManualClock) -> None:
    node = SharedNode(memory_dir, manual_clock, every={NAME: 60.0})
    await node.rows.declare(NAME, Declaration(priority="high"))
    node.schedule.pushed(NAME)
    node.schedule.pulled([NAME])
    await node.program.put(NAME, "a", b"{}")
    assert node.schedule.may_pull(NAME)
    assert len(await node.push("rows-high")) == 1
    node.close()


async def test_a_declaration_from_elsewhere_leaves_the_nodes_own_words(node: SharedNode) -> None:
    await node.rows.declare(NAME, Declaration())
    await node.push("rows-high")
    await node.answer([1], lane="rows-high")
    await node.pull("entity", of_hub(NAME, 9, b'{"priority":"high","strategy":"manual"}'))
    node.rows.read_declarations()
    assert (node.rows.declared[NAME].priority, node.rows.said[NAME].priority) == ("low", "high")
    assert node.rows.declared[NAME].strategy == "manual"
