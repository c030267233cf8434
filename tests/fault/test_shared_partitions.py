"""Three nodes and people edit the same few rows at random, cut off and joined at random: in the end all have the same.

A seed names the operations and the partitions; how far each message gets before the next one is left to the machine. The
simulation (tests/simulation) has more kinds of trouble, on virtual time.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from tests.postgres import Postgres
from tests.rows_site import RowsSite, SiteNode, rows_site

from skerry.kit.errors import NotFound
from skerry.testing.manual_clock import ManualClock
from skerry.wire.rows import Resolve, RowPut
from skerry.wire.shared import Declaration

STRATEGIES = {
    "newest": Declaration("last_modified"),
    "central": Declaration("central_wins", priority="high"),
    "edge": Declaration("edge_wins", priority="low"),
    "merged": Declaration("merge", fields={"n": "sum", "tags": "union"}, priority="high"),
    "manual": Declaration("manual"),
}
IDS = [f"r{number}" for number in range(12)]
FIELDS = ("a", "b", "c")


class Play:
    """One seed's operations; `done` counts them by kind."""

    def __init__(self, site: RowsSite, seed: int) -> None:
        self._site = site
        self._chance = random.Random(seed)
        self.done: Counter[str] = Counter()

    async def run(self, operations: int) -> None:
        """All of them, with a partition now and then; afterwards everybody is joined again."""
        for number in range(operations):
            if number % 17 == 0:
                await self._partition()
            entity, row = self._chance.choice(list(STRATEGIES)), self._chance.choice(IDS)
            if self._chance.random() < 0.15:
                await self._people(entity, row)
            else:
                await self._edit(self._chance.choice(self._site.nodes), entity, row)
            for _ in range(self._chance.choice((0, 0, 1, 5, 20))):
                await asyncio.sleep(0)
        for node in self._site.nodes:
            node.way.lose = lambda _unit: False
            node.way.heal()
            node.sync_on()

    async def _partition(self) -> None:
        """Each node is joined, or cut off, or loses answers, or ends and begins again."""
        for node in list(self._site.nodes):
            kind = self._chance.choice(
                ("joined", "joined", "cut", "cut", "answers lost", "answers lost", "restart")
            )
            self.done[kind] += 1
            node.way.lose = lambda _unit: False
            if kind == "cut" and node.way.is_up:
                node.way.cut()
            elif kind == "restart":
                await node.stop()
                await self._site.again(node)
                node.sync_on()
            else:
                node.way.heal()
            if kind == "answers lost":
                node.way.lose = lambda _unit: self._chance.random() < 0.4

    async def _edit(self, node: SiteNode, entity: str, row: str) -> None:
        kind = self._chance.choice(("change", "change", "change", "replace", "delete", "settle"))
        waiting = {each.id for each in await node.shared.frames.conflicts(entity)}
        if kind == "delete":
            await node.program.delete(entity, row)
        elif kind == "replace":
            await node.program.put(entity, row, self._body(None))
        elif kind == "settle" and waiting:
            with contextlib.suppress(NotFound):  # it was decided meanwhile
                row = self._chance.choice(sorted(waiting))
                await node.program.settle(entity, row, self._body(None))
        else:
            await node.program.upsert(entity, row, self._body)
        self.done[kind] += 1

    async def _people(self, entity: str, row: str) -> None:
        rows = self._site.hub.shared_rows
        kind = self._chance.choice(("put", "put an older one", "drop", "resolve"))
        with contextlib.suppress(NotFound):
            if kind == "drop":
                await rows.delete(entity, row)
            elif kind == "resolve":
                take = self._chance.choice(("hub", "body"))
                body = msgspec.Raw(self._body(None) if take == "body" else b"null")
                await rows.resolve(entity, row, Resolve(take, body=body))  # type: ignore[arg-type]
            else:
                base = (
                    None
                    if kind == "put"
                    else self._chance.choice(await self._revisions(entity, row))
                )
                await rows.put(entity, row, RowPut(msgspec.Raw(self._body(None)), base))
            self.done[f"people: {kind}"] += 1

    async def _revisions(self, entity: str, row: str) -> list[int]:
        return [each.rev for each in await self._site.hub.shared_rows.history(entity, row)]

    def _body(self, held: bytes | None) -> bytes:
        body = json.loads(held or b"{}")
        body[self._chance.choice(FIELDS)] = self._chance.randrange(1000)
        body["n"] = body.get("n", 0) + 1
        body["tags"] = sorted({*body.get("tags", []), self._chance.randrange(8)})
        return json.dumps(body).encode()


async def play(directory: Path, url: str, seed: int, operations: int) -> Counter[str]:
    """Runs a seed and compares everything; what has happened."""
    async with rows_site(directory, url, ManualClock()) as site:
        for name in ("one", "two", "three"):
            await site.node(name)
        await site.share(STRATEGIES)
        running = Play(site, seed)
        await running.run(operations)
        await site.equal()
        for entity in STRATEGIES:
            assert await site.dump(entity), entity
            waiting = await site.waiting(entity)
            running.done[f"waiting: {entity}"] = len(waiting)
            for node in site.nodes:
                own = {one.id for one in waiting if one.why == node.enrolled.node_id}
                listed = {one.id for one in await node.shared.frames.conflicts(entity)}
                assert listed == own, (node.enrolled.name, entity)
        return running.done


@pytest.mark.guarantee("G1")
async def test_random_operations_and_partitions_end_in_identical_dumps(memory_dir: Path) -> None:
    done = await play(memory_dir, f"sqlite:///{memory_dir / 'hub.db'}", seed=1, operations=250)
    assert all(done[kind] for kind in ("cut", "answers lost", "restart", "delete", "people: drop"))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2, 12))
async def test_a_thousand_operations_of_each_strategy(memory_dir: Path, seed: int) -> None:
    await play(memory_dir, f"sqlite:///{memory_dir / 'hub.db'}", seed, len(STRATEGIES) * 1000)


@pytest.mark.soak
@pytest.mark.postgres
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(12, 15))
async def test_a_thousand_operations_of_each_strategy_on_postgresql(
    memory_dir: Path, postgres: Postgres, seed: int
) -> None:
    with postgres.prepared_database() as url:
        await play(memory_dir, url, seed, len(STRATEGIES) * 1000)
