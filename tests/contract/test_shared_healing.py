"""Hubs and nodes that were put back from older copies, and clones: shared rows end the same everywhere, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from tests.hub_rig import DAY, HubRig
from tests.restorable_hub import RestorableHub
from tests.rows_site import CLASSES, RowsSite, SiteNode, rows_site

from skerry.kit.errors import Transient
from skerry.node.sync.pace import Pace
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.shared import Declaration
from skerry.wire.sync import Hello, HelloReply

pytestmark = pytest.mark.guarantee("G1")

STRATEGIES = {
    "newest": Declaration("last_modified"),
    "central": Declaration("central_wins", priority="high"),
    "edge": Declaration("edge_wins", priority="low"),
    "merged": Declaration("merge", fields={"n": "sum"}),
    "manual": Declaration("manual"),
}

OFTEN = Pace(pull_every=60.0)
"""The hub tells a node's id nothing of what that id did: clones hear of each other by the schedule."""


def body(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


@pytest.fixture
async def site(
    database_url: str, memory_dir: Path, manual_clock: ManualClock
) -> AsyncIterator[RowsSite]:
    async with rows_site(memory_dir, database_url, manual_clock) as found:
        yield found


async def begun(site: RowsSite) -> tuple[SiteNode, SiteNode]:
    """Two nodes; of each entity there are rows that will change, stay and go."""
    one, two = await site.node("one"), await site.node("two")
    await site.share(STRATEGIES)
    for entity in STRATEGIES:
        await one.program.bulk(entity, [(each, body(n=1)) for each in ("changed", "kept", "gone")])
    await site.equal()
    return one, two


async def texts(site: RowsSite, entity: str, row: str) -> set[bytes]:
    """Every body of the row that the hub has: the row's, of its history, and of what waits."""
    kept = [*await site.history(entity), *await site.waiting(entity)]
    now = (await site.dump(entity)).get(row)
    return {one.body for one in kept if one.id == row} | ({now} if now else set())


@pytest.fixture
async def restorable(site: RowsSite, tmp_path: Path, manual_clock: ManualClock) -> RestorableHub:
    make = partial(HubRig, tell=site.news)
    found = RestorableHub(tmp_path, site.url, manual_clock, make)
    found.rig = site.hub
    return found


class TestAHubThatWasPutBack:
    async def test_nodes_bring_back_what_it_lost(
        self, site: RowsSite, restorable: RestorableHub
    ) -> None:
        """Rows of both nodes, edits of rows that it still has, and edits made while it was away."""
        one, two = await begun(site)
        await restorable.set_aside()
        for entity in STRATEGIES:
            await one.program.put(entity, "changed", body(n=2))
            await one.program.put(entity, "new of one", body(n=1))
            await two.program.put(entity, "new of two", body(n=1))
        await site.equal()
        before = {entity: await site.dump(entity) for entity in STRATEGIES}
        for node in site.nodes:
            node.way.cut()
        await eventually(lambda: not one.way.busy and not two.way.busy, "nobody is at the hub")
        for entity in STRATEGIES:
            await two.program.put(entity, "meanwhile", body(n=1))
        site.hub = await restorable.put_back()
        for node in site.nodes:
            node.way.heal()
        await eventually(lambda: _repaired(site.nodes), "both have compared their rows")
        await site.equal()
        for entity in STRATEGIES:
            expected = before[entity] | {"meanwhile": body(n=1)}
            assert await site.dump(entity) == dict(sorted(expected.items())), entity
            assert await site.waiting(entity) == [], entity

    async def test_what_was_deleted_since_is_back_at_most_and_alike_everywhere(
        self, site: RowsSite, restorable: RestorableHub
    ) -> None:
        """Nodes keep no deletions that the hub has acknowledged: a hub that forgot one has the row again."""
        one, _ = await begun(site)
        await restorable.set_aside()
        for entity in STRATEGIES:
            await one.program.delete(entity, "gone")
        await site.equal()
        for node in site.nodes:
            node.way.cut()
        site.hub = await restorable.put_back()
        for node in site.nodes:
            node.way.heal()
        await eventually(lambda: _repaired(site.nodes), "both have compared their rows")
        await site.equal()
        for entity in STRATEGIES:
            assert set(await site.dump(entity)) == {"changed", "gone", "kept"}

    @pytest.mark.parametrize("first", ["who deleted it", "who brings it back"])
    async def test_a_row_brought_back_stays_deleted_where_it_was_deleted_meanwhile(
        self, site: RowsSite, restorable: RestorableHub, first: str
    ) -> None:
        one, two = await begun(site)
        await restorable.set_aside()
        entities = ("newest", "edge", "merged")
        for entity in entities:
            await one.program.put(entity, "made", body(n=1))
        await site.equal()
        for node in site.nodes:
            node.way.cut()
        await eventually(lambda: not one.way.busy and not two.way.busy, "nobody is at the hub")
        for entity in entities:
            await two.program.delete(entity, "made")
        site.hub = await restorable.put_back()
        order = [two, one] if first == "who deleted it" else [one, two]
        for node in order:
            node.way.heal()
            await node.has_pulled()
            await eventually(node.sent_all, "the hub has heard it")
        await site.equal()
        for entity in entities:
            assert set(await site.dump(entity)) == {"changed", "gone", "kept"}, entity


async def _repaired(nodes: list[SiteNode]) -> bool:
    return all([len(await node.log_of("repair")) >= len(STRATEGIES) for node in nodes])


class TestANodeThatWasPutBack:
    async def test_it_gets_what_it_lost_and_sends_what_it_had_not_sent(
        self, site: RowsSite, memory_dir: Path
    ) -> None:
        one, two = await begun(site)
        await one.sync_off()
        for entity in STRATEGIES:
            await one.program.put(entity, "unsent", body(n=1))
        await one.stop()
        one.copy_to(memory_dir / "copy")
        await site.again(one)
        one.sync_on()
        for entity in STRATEGIES:
            await one.program.put(entity, "changed", body(n=2))
            await one.program.put(entity, "later", body(n=1))
            await one.program.delete(entity, "gone")
            await two.program.put(entity, "kept", body(n=3))
        await site.equal()
        expected = {entity: await site.dump(entity) for entity in STRATEGIES}
        incarnation = one.store.incarnation
        await one.stop()
        one.put_back(memory_dir / "copy")
        await site.again(one)
        one.way.may_push.clear()  # what is unsent is there when the hub is first asked, so nothing is compared yet
        one.sync_on()
        await one.has_pulled()
        one.way.may_push.set()
        await eventually(lambda: one.store.incarnation != incarnation, "it is known to be older")
        await site.equal()
        for entity, rows in expected.items():
            assert await site.dump(entity) == rows, entity
            assert {"later", "unsent", "changed", "kept"} == set(rows)
            assert await site.waiting(entity) == []


class TestClones:
    async def test_edits_of_one_clock_and_one_node_are_two_edits(
        self, site: RowsSite, memory_dir: Path
    ) -> None:
        """A copied data directory: both copies write the same row at the same time by the same clock, differently."""
        one, _ = await begun(site)
        await one.stop()
        one.copy_to(memory_dir / "clone")
        await site.again(one, OFTEN)
        clone = await site.add(SiteNode(memory_dir / "clone", one.enrolled, site.clock), OFTEN)
        ahead = (site.clock.wall_ns() // 1_000_000 + 50_000) << 16
        for node in (one, clone):
            node.rows.hlc.observe(ahead)
        for entity in STRATEGIES:
            await one.program.put(entity, "changed", body(n=2, by="the original"))
            await clone.program.put(entity, "changed", body(n=3, by="the clone"))
            written = [await node.program.get(entity, "changed") for node in (one, clone)]
            assert len({row.revision for row in written if row is not None}) == 1
        one.sync_on()
        await eventually(one.sent_all, "the hub has heard the original")
        clone.sync_on()
        await site.equal()
        assert one.store.incarnation != clone.store.incarnation
        for entity in STRATEGIES:
            found = await texts(site, entity, "changed")
            assert {body(n=2, by="the original"), body(n=3, by="the clone")} <= found, entity
        assert json.loads((await site.dump("merged"))["changed"])["n"] == 4

    async def test_what_clones_do_reaches_each_other(
        self, site: RowsSite, memory_dir: Path
    ) -> None:
        one, two = await begun(site)
        await one.stop()
        one.copy_to(memory_dir / "clone")
        await site.again(one, OFTEN)
        clone = await site.add(SiteNode(memory_dir / "clone", one.enrolled, site.clock), OFTEN)
        for node in (one, clone):
            node.sync_on()
        for entity in STRATEGIES:
            await one.program.put(entity, "of the original", body(n=1))
            await clone.program.put(entity, "of the clone", body(n=1))
            await clone.program.delete(entity, "gone")
            await two.program.put(entity, "kept", body(n=2))
        expected = {"changed", "kept", "of the clone", "of the original"}
        for node in site.nodes:
            await eventually(lambda node=node: _has(node, expected), "everything has arrived")  # type: ignore[misc]
        await site.equal()

    @pytest.mark.parametrize(
        ("entity", "is_heard"),
        [("central", True), ("central", False), ("newest", True)],
        ids=["another lane", "another lane, a hello lost", "the same lane"],
    )
    async def test_a_clone_does_not_hide_that_the_hub_was_put_back(
        self,
        site: RowsSite,
        restorable: RestorableHub,
        memory_dir: Path,
        entity: str,
        is_heard: bool,
    ) -> None:
        """What the clone sends makes another history. The node has no place in the hub's changes that would tell it, too."""
        one = await site.node("one", held_back=CLASSES)
        for name in ("newest", "central"):
            await one.rows.declare(name, STRATEGIES[name])
        one.sync_on()
        await eventually(one.sent_all, "the hub has the declarations")
        await one.stop()
        one.copy_to(memory_dir / "clone")
        await restorable.set_aside()
        site.nodes.remove(one)
        await site.add(one, held_back=CLASSES)
        one.sync_on()
        await one.program.put("newest", "made", body(n=1))
        if entity == "central":
            await one.program.put("central", "a", body(n=1))
        await eventually(one.sent_all, "the hub has heard the original")
        await one.stop()
        site.hub = await restorable.put_back()
        clone = await site.add(SiteNode(memory_dir / "clone", one.enrolled, site.clock), OFTEN)
        clone.sync_on()
        await clone.program.put(entity, "a", body(n=2))
        await eventually(clone.sent_all, "the hub has heard the clone")
        incarnation = one.store.incarnation
        await site.again(one, OFTEN)
        hello = one.way.hello

        async def heard(said: Hello) -> HelloReply:
            if said.incarnation != incarnation and not is_heard:
                one.way.hello = hello  # type: ignore[method-assign]
                raise Transient("cannot reach hub: the hello was lost")
            return await hello(said)

        one.way.hello = heard  # type: ignore[method-assign]
        one.sync_on()
        await eventually(lambda: one.store.incarnation != incarnation, "it is told apart")
        await eventually(lambda: one.sync.connection.session.greetings > 0, "it is greeted")  # type: ignore[union-attr]
        await one.has_pulled()
        await site.equal()
        assert "made" in await site.dump("newest")


async def _has(node: SiteNode, expected: set[str]) -> bool:
    return all([set(await node.dump(entity)) == expected for entity in STRATEGIES])


class TestTheHorizon:
    @pytest.mark.parametrize("rows", [1000, pytest.param(20_000, marks=pytest.mark.soak)])
    async def test_a_node_that_was_away_longer_asks_for_what_differs_only(
        self, site: RowsSite, rows: int
    ) -> None:
        """What 31 days have changed travels, not what they have not: counted against a copy for a new node."""
        one, away = await site.node("one"), await site.node("away")
        await site.share({"newest": Declaration()})
        await one.program.bulk(
            "newest", [(f"{n:06}", body(n=n, text="x" * 200)) for n in range(rows)]
        )
        await site.equal()
        await away.sync_off()
        for n in range(5):
            await one.program.put("newest", f"{n:06}", body(n=-1 - n))
            await one.program.delete("newest", f"{n + 5:06}")
            await one.program.put("newest", f"new {n}", body(n=n))
        await eventually(one.sent_all, "the hub knows it")
        site.clock.advance(31 * DAY)
        await site.hub.retention.sweep(site.clock.wall_ns())
        for counted in (away.way.calls, away.way.bytes, away.way.rows):
            counted.clear()
        away.sync_on()
        await site.equal()
        fresh = await site.node("fresh")
        await fresh.rows.declare("newest", Declaration())
        fresh.sync_on()
        await site.equal()
        assert fresh.way.rows["rows/pull"] >= rows
        assert away.way.rows == {"rows/pull": 0, "rows/wanted": 10}
        calls = ("rows/pull", "rows/buckets", "rows/wanted")
        repaired, copied = (sum(node.way.bytes[call] for call in calls) for node in (away, fresh))
        assert repaired < copied / 10
        await eventually(lambda: bool(away.heard("skerry.sync.repaired")), "told")
        [told] = away.heard("skerry.sync.repaired")
        assert told.meta["wanted"] == 10
        assert told.meta["dropped"] == 5
