"""Rows edited by the hub and by a node that did not know of each other: under each strategy, in each order, what is written down here.

The sides change 500 rows of each entity, and delete some more. `ORDERS` says who edits first, and what the node hears before
it is heard; `Fate` what must have become of a row everywhere.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from tests.rows_site import RowsSite, SiteNode, Version, rows_site

from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.shared import Declaration, Edit

STRATEGIES = {
    "newest": Declaration("last_modified"),
    "central": Declaration("central_wins", priority="high"),
    "edge": Declaration("edge_wins", priority="low"),
    "merged": Declaration("merge", fields={"n": "sum"}, priority="high"),
    "manual": Declaration("manual"),
}
ROWS, FEWER, DELETED = 500, 50, 10

BASE = {"n": 10, "hub": 0, "node": 0, "both": "base"}
HUB = {"n": 11, "hub": 1, "node": 0, "both": "hub"}
NODE = {"n": 12, "hub": 0, "node": 2, "both": "node"}
BODIES = {"base": BASE, "hub": HUB, "node": NODE} | {
    f"merged, {side}": {"n": 13, "hub": 1, "node": 2, "both": side} for side in ("hub", "node")
}

KINDS = ("edits", "node deletes", "hub deletes", "both delete")
"""What the two sides do with rows."""


class Fate(NamedTuple):
    """What the row is at the end, what of the history lost or was merged, and what waits."""

    row: str
    lost: str = ""
    merged: str = ""
    waits: str = ""


HUB_WINS, NODE_WINS = Fate("hub", lost="node"), Fate("node", lost="hub")
HUB_STAYS, NODE_STAYS = Fate("hub", waits="node"), Fate("node", waits="hub")
DELETION_WINS_HUBS, DELETION_WINS_NODES = Fate("", lost="hub"), Fate("", lost="node")
HUB_BEATS_DELETION, NODE_BEATS_DELETION = (
    Fate("hub", lost="deletion"),
    Fate("node", lost="deletion"),
)

NODE_IS_LATER = {
    "newest": (NODE_WINS, DELETION_WINS_HUBS, NODE_BEATS_DELETION),
    "central": (HUB_WINS, HUB_BEATS_DELETION, DELETION_WINS_NODES),
    "edge": (NODE_WINS, DELETION_WINS_HUBS, NODE_BEATS_DELETION),
    "merged": (Fate("merged, node", merged="node"), DELETION_WINS_HUBS, NODE_BEATS_DELETION),
    "manual": (HUB_STAYS, Fate("hub", waits="deletion"), Fate("", waits="node")),
}
"""By entity the fates of the first three of `KINDS`; nothing meets where both delete."""

HUB_IS_LATER = NODE_IS_LATER | {
    "newest": (HUB_WINS, HUB_BEATS_DELETION, DELETION_WINS_NODES),
    "merged": (Fate("merged, hub", merged="node"), HUB_BEATS_DELETION, DELETION_WINS_NODES),
}
HUB_HAS_NOT_SEEN_THE_NODES = {
    "newest": (HUB_WINS, HUB_BEATS_DELETION, DELETION_WINS_NODES),
    "central": (HUB_WINS, HUB_BEATS_DELETION, DELETION_WINS_NODES),
    "edge": (NODE_WINS, DELETION_WINS_HUBS, NODE_BEATS_DELETION),
    "merged": (Fate("merged, hub", merged="hub"), HUB_BEATS_DELETION, DELETION_WINS_NODES),
    "manual": (NODE_STAYS, Fate("", waits="hub"), Fate("node", waits="deletion")),
}


class Order(NamedTuple):
    """Who edits first, whether the node pulls the hub's edits before it pushes its own, and with how many rows."""

    hub_first: bool
    pull_first: bool
    outcome: dict[str, tuple[Fate, Fate, Fate]]
    rows: int


ORDERS = {
    "hub then node, pulled first": Order(True, True, NODE_IS_LATER, ROWS),
    "hub then node, pushed first": Order(True, False, NODE_IS_LATER, FEWER),
    "node then hub, pulled first": Order(False, True, HUB_IS_LATER, ROWS),
    "node then hub, pushed first": Order(False, False, HUB_IS_LATER, FEWER),
}

CASES = [pytest.param("sqlite", order, id=f"sqlite-{name}") for name, order in ORDERS.items()] + [
    pytest.param(
        "postgresql",
        order,
        id=f"postgresql-{name}",
        marks=[pytest.mark.postgres, *([pytest.mark.soak] if order.rows == FEWER else [])],
    )
    for name, order in ORDERS.items()
]


class Round:
    """A node that edits, another one that only reads, and people at the hub."""

    def __init__(self, site: RowsSite, node: SiteNode, counts: dict[str, int]) -> None:
        self.site = site
        self.node = node
        self.counts = counts
        self.bases: dict[tuple[str, str], int] = {}

    async def begin(self) -> None:
        """Everybody has all rows."""
        await self.site.share(STRATEGIES)
        for entity in STRATEGIES:
            await self.node.program.bulk(
                entity, [(each, encoded(BASE)) for each in self.ids(*KINDS)]
            )
        await self.site.equal()
        for entity in STRATEGIES:
            for row in await self.node.program.list(entity):
                self.bases[entity, row.id] = row.rev

    def ids(self, *kinds: str) -> list[str]:
        return [f"{kind} {number:03}" for kind in kinds for number in range(self.counts[kind])]

    async def edit_on_node(self) -> None:
        for entity in STRATEGIES:
            edited = self.ids("edits", "hub deletes")
            await self.node.program.bulk(entity, [(each, encoded(NODE)) for each in edited])
            for each in self.ids("node deletes", "both delete"):
                await self.node.program.delete(entity, each)

    async def edit_at_hub(self) -> None:
        """As people who have seen the rows as they were at the beginning."""
        body = msgspec.Raw(encoded(HUB))
        for entity in STRATEGIES:
            edits = [
                Edit(each, self.bases[entity, each], 0, "put", body)
                for each in self.ids("edits", "node deletes")
            ]
            edits += [
                Edit(each, self.bases[entity, each], 0, "delete")
                for each in self.ids("hub deletes", "both delete")
            ]
            await self.site.edit_at_hub(entity, edits)

    async def check(self, outcome: dict[str, tuple[Fate, Fate, Fate]]) -> None:
        """Hub and nodes have the rows that are written down, the history what lost, the lists what waits."""
        await self.site.equal()
        for entity, (*fates,) in outcome.items():
            fate_of = dict(zip(KINDS, [*fates, Fate("")], strict=True))
            rows = {each: fate_of[kind].row for kind in KINDS for each in self.ids(kind)}
            assert await self.site.dump(entity) == {
                each: encoded(BODIES[row]) for each, row in sorted(rows.items()) if row
            }
            history = await self.site.history(entity)
            for why in ("lost", "merged"):
                kept = [one for one in history if one.why == why]
                assert sides(kept) == self.expected(fate_of, why), (entity, why)
            waiting = await self.site.waiting(entity)
            assert sides(waiting) == self.expected(fate_of, "waits"), entity
            await self.check_lists(entity, waiting)

    async def check_lists(self, entity: str, waiting: list[Version]) -> None:
        """People find what waits at the hub, and what of it is the node's there, too."""
        at_hub = await self.site.hub.shared_rows.conflicts(entity)
        assert {view.id for view in at_hub} == {one.id for one in waiting}
        own = {one.id for one in waiting if one.why == self.node.enrolled.node_id}
        assert {one.id for one in await self.node.shared.frames.conflicts(entity)} == own

    def expected(self, fate_of: dict[str, Fate], what: str) -> Counter[tuple[str, str]]:
        """By kind and side, how many."""
        said = {kind: getattr(fate, what) for kind, fate in fate_of.items()}
        return Counter({(kind, side): self.counts[kind] for kind, side in said.items() if side})


def encoded(body: dict[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def sides(versions: list[Version]) -> Counter[tuple[str, str]]:
    """How many there are of each kind of row, by whose edit it was."""
    names = {encoded(body): name for name, body in BODIES.items()}
    return Counter(
        (one.id.rpartition(" ")[0], "deletion" if one.deleted else names[one.body])
        for one in versions
    )


@pytest.fixture
async def site(
    database_url: str, memory_dir: Path, manual_clock: ManualClock
) -> AsyncIterator[RowsSite]:
    async with rows_site(memory_dir, database_url, manual_clock) as found:
        yield found


async def begun(site: RowsSite, rows: int) -> Round:
    """A server of databases has fewer rows: what is decided is the same, and it takes its time."""
    if not site.url.startswith("sqlite"):
        rows = FEWER
    node, _ = await site.node("editor"), await site.node("reader")
    found = Round(site, node, dict.fromkeys(KINDS, DELETED) | {"edits": rows})
    await found.begin()
    return found


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize(("database_url", "order"), CASES, indirect=["database_url"])
async def test_both_sides_edit(site: RowsSite, order: Order) -> None:
    both = await begun(site, order.rows)
    node = both.node
    await node.hold()
    if order.hub_first:
        await both.edit_at_hub()
        site.clock.advance(1)
        await both.edit_on_node()
    else:
        await both.edit_on_node()
        site.clock.advance(1)
        await both.edit_at_hub()
    if order.pull_first:
        node.way.may_pull.set()
        await node.has_pulled()
        assert node.way.rows["rows/pull"] >= len(STRATEGIES) * both.counts["edits"]
        node.way.may_push.set()
    else:
        node.way.may_push.set()
        await eventually(node.sent_all, "the hub has judged the node's edits")
        node.way.may_pull.set()
    await both.check(order.outcome)


@pytest.mark.guarantee("G1")
async def test_people_edit_what_they_have_not_seen_the_node_edit(site: RowsSite) -> None:
    """The node's edits are at the hub when theirs come, which were made on what was before."""
    both = await begun(site, FEWER)
    await both.edit_on_node()
    await eventually(both.node.sent_all, "the hub has the node's edits")
    await both.edit_at_hub()
    await both.check(HUB_HAS_NOT_SEEN_THE_NODES)


@pytest.mark.guarantee("G1")
async def test_rows_that_come_before_their_declaration_are_judged_by_it(site: RowsSite) -> None:
    """The lane of declarations is held up; at the hub nobody has declared the entity, and somebody writes rows of it."""
    node = await site.node("one")
    await node.rows.declare("central", Declaration("central_wins"))
    await site.edit_at_hub("central", [Edit("a", 0, 0, "put", msgspec.Raw(b'{"by":"the hub"}'))])
    await node.program.put("central", "a", b'{"by":"the node"}')
    node.way.refusing.add("rows-high")
    node.sync_on()

    async def judged() -> bool:
        return await node.rows.unsent("central") == 0

    await eventually(judged, "the hub has judged the node's edit")
    assert await site.dump("central") == {"a": b'{"by":"the hub"}'}
    assert [(each.body, each.why) for each in await site.history("central")] == [
        (b'{"by":"the node"}', "lost")
    ]
    node.way.refusing.clear()
    await site.equal()
    assert len(await site.dump("entity")) == 1
    assert node.heard("skerry.sync.conflict")
