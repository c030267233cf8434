"""Pulling shared rows on a real store, from a hub that the test plays: when digests say something, and what comes first."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.shared_node import SharedNode, of_hub

from skerry.core.row_digests import EMPTY, digest, unpack
from skerry.kit.bell import Bell
from skerry.node.sync.pace import Pace
from skerry.node.sync.row_pull import RowPull
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.shared import (
    DECLARATIONS,
    Buckets,
    BucketsReply,
    Declaration,
    Judged,
    RowsPage,
    RowsPart,
    RowsPull,
    RowsWanted,
    SharedRow,
)

NAME = "recipe"


class PlayedHub:
    """Implements `node.ports.RowHub`: no changes but `rows`, a digest that fits nothing, and what `meanwhile` does on the node."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]], *rows: SharedRow) -> None:
        self._meanwhile = meanwhile
        self._rows = {NAME: list(rows)}
        self.asked: list[str] = []

    async def rows(self, pull: RowsPull) -> RowsPage:
        self.asked.append("rows")
        await self._meanwhile()
        return RowsPage(
            [
                RowsPart(
                    entity,
                    self._rows.get(entity, []),
                    "c",
                    more=False,
                    digest="" if entity == DECLARATIONS else "x",
                )
                for entity in pull.cursors
            ],
            0,
        )

    async def buckets(self, sums: Buckets) -> BucketsReply:
        self.asked.append(f"buckets of {sums.entity}")
        return BucketsReply({}, more=False)

    async def wanted(self, wanted: RowsWanted) -> RowsPart:
        self.asked.append("wanted")
        return RowsPart(
            wanted.entity, [of_hub(row_id, 12) for row_id in wanted.ids], "", more=False
        )


@pytest.fixture
async def node(memory_dir: Path, manual_clock: ManualClock) -> AsyncIterator[SharedNode]:
    node = SharedNode(memory_dir, manual_clock)
    await node.rows.declare(NAME, Declaration(priority="high"))
    while await node.push("rows-high"):
        await node.answer([1], lane="rows-high")
    await node.pull(NAME, of_hub("a", 7, b'{"x":1}'))
    yield node
    node.close()


@contextlib.asynccontextmanager
async def pulling(
    node: SharedNode, clock: ManualClock, hub: PlayedHub, check: Bell
) -> AsyncIterator[RowPull]:
    pull = RowPull(
        hub, node.rows, node.pulled, clock, random.Random(1), news=Bell(), check=check,
        greeted=lambda: 1, pace=Pace(), log=node.log,
    )  # fmt: skip
    task = asyncio.create_task(pull.run())
    yield pull
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def pulled_once(node: SharedNode, clock: ManualClock, hub: PlayedHub) -> int:
    """How often a hello was asked for, after one pull."""
    check = Bell()
    async with pulling(node, clock, hub, check) as pull:
        await eventually(lambda: bool(pull.last_success), "the pull is done")
    return check.count


async def nothing() -> None:
    pass


@pytest.mark.guarantee("G4")
async def test_what_a_full_disk_did_not_take_is_pulled_again_without_news(
    node: SharedNode, manual_clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await limit_pages(node, 1)
    large = b'{"x":"%s"}' % (b"y" * 900_000)  # more in all than is free within the file
    hub = PlayedHub(nothing, *(of_hub(f"b{n}", 8 + n, large) for n in range(4)))
    async with pulling(node, manual_clock, hub, Bell()) as pull:
        await eventually(lambda: "pulling shared rows" in caplog.text, "the disk was full")
        await limit_pages(node, 1_000_000)
        manual_clock.advance(1.0)
        await eventually(lambda: bool(pull.last_success), "the pull is done")
    assert await node.body(NAME, "b3") is not None


async def limit_pages(node: SharedNode, pages: int) -> None:
    """How far the database may grow; one that is larger already grows no further."""
    await node.writer.run(
        lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone(), label="test"
    )


async def test_another_digest_is_suspicious(node: SharedNode, manual_clock: ManualClock) -> None:
    assert await pulled_once(node, manual_clock, PlayedHub(nothing)) == 1


async def test_a_digest_from_before_an_answer_that_came_meanwhile_says_nothing(
    node: SharedNode, manual_clock: ManualClock
) -> None:
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.push("rows-high")
    hub = PlayedHub(lambda: node.answer([9], lane="rows-high"))
    assert await pulled_once(node, manual_clock, hub) == 0


async def test_rows_that_are_wanted_are_fetched_before_digests_are_compared(
    node: SharedNode, manual_clock: ManualClock
) -> None:
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.push("rows-high")
    await node.pull(NAME, of_hub("a", 12))
    await node.answer([9], lane="rows-high")  # given before
    assert list(node.pulled.wanted(NAME, 10)) == ["a"]

    hub = PlayedHub(nothing)
    await pulled_once(node, manual_clock, hub)
    assert hub.asked[:2] == ["wanted", "rows"]


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("how", ["deleted here", "deleted there"])
async def test_what_an_answer_deleted_meanwhile_is_not_brought_back_by_an_older_page(
    node: SharedNode, manual_clock: ManualClock, how: str
) -> None:
    """The page was read before the hub took the edit, and comes after the answer to it."""

    async def meanwhile() -> None:
        if how == "deleted here":
            await node.program.delete(NAME, "a")
            await node.push("rows-high")
            await node.answer([9], lane="rows-high")
        else:
            await node.program.put(NAME, "a", b'{"x":2}')
            await node.push("rows-high")
            lost = Judged(0, "lost", of_hub("a", 9, deleted=True))
            await node.answer([9], lost, lane="rows-high")

    await pulled_once(node, manual_clock, PlayedHub(meanwhile, of_hub("a", 8, b'{"x":8}')))
    assert await node.body(NAME, "a") is None
    assert node.pulled.digest(NAME) == digest(unpack(EMPTY))
    await pulled_once(node, manual_clock, PlayedHub(nothing, of_hub("a", 10, b'{"x":10}')))
    assert await node.body(NAME, "a") == b'{"x":10}'
