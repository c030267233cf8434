"""Shared rows between two nodes and a hub, on real files and sockets: whatever happens on the way, all end equal."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.shared_rig import NAME, Fleet, SharingNode, fleet

from skerry.testing.waiting import eventually
from skerry.wire.shared import Declaration
from skerry.wire.sync import PushUnit

PLAIN = {NAME: Declaration(priority="high")}
STRATEGIES: dict[str, Declaration] = {
    "newest": Declaration("last_modified"),
    "central": Declaration("central_wins"),
    "edge": Declaration("edge_wins", priority="low"),
    "merged": Declaration("merge", fields={"n": "sum"}, priority="high"),
    "manual": Declaration("manual"),
}


@pytest.fixture
async def site(memory_dir: Path) -> AsyncIterator[Fleet]:
    async with fleet(memory_dir) as found:
        yield found


async def pair(
    site: Fleet, declarations: dict[str, Declaration]
) -> tuple[SharingNode, SharingNode]:
    one, two = await site.node("one"), await site.node("two")
    await site.share(declarations)
    return one, two


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


async def test_rows_edited_on_both_sides_end_equal_under_each_strategy_in_both_orders(
    site: Fleet,
) -> None:
    one, two = await pair(site, STRATEGIES)
    orders = {"a": (one, two), "b": (two, one)}
    for entity in STRATEGIES:
        await one.program.bulk(entity, [(row, body(n=10, x=0, y=0)) for row in orders])
    await site.equal()
    for row, (first, second) in orders.items():
        await one.sync_off()
        await two.sync_off()
        for (
            entity
        ) in STRATEGIES:  # «two» is the later writer, «first» the one whom the hub hears first
            await one.program.put(entity, row, body(n=11, x=1, y=0))
            await two.program.put(entity, row, body(n=12, x=2, y=2))
        first.sync_on()
        await eventually(first.sent_all, "the first is heard")
        second.sync_on()
        found = {entity: await site.equal(entity) for entity in STRATEGIES}
        heard = body(n=11, x=1, y=0) if first is one else body(n=12, x=2, y=2)
        assert json.loads(found["newest"][row]) == {"n": 12, "x": 2, "y": 2}
        assert json.loads(found["edge"][row]) == {"n": 12, "x": 2, "y": 2}
        assert json.loads(found["merged"][row]) == {"n": 13, "x": 2, "y": 2}
        assert json.loads(found["central"][row]) == json.loads(heard)
        assert json.loads(found["manual"][row]) == json.loads(heard)
        assert "conflict" in await second.statuses("manual")
        assert "conflict" not in await first.statuses("manual") or row == "b"


async def test_rows_edited_at_hub_and_node_end_equal_under_each_strategy_in_both_orders(
    site: Fleet,
) -> None:
    one, _two = await pair(site, STRATEGIES)
    for entity in STRATEGIES:
        await one.program.bulk(
            entity, [("hub", body(n=10, x=0, y=0)), ("node", body(n=10, x=0, y=0))]
        )
    await site.equal()
    revs: dict[tuple[str, str], int] = {}
    for entity in STRATEGIES:
        for row in await one.program.list(entity):
            revs[entity, row.id] = row.rev

    async def at_hub(row: str) -> None:
        for entity in STRATEGIES:
            await site.put(entity, row, body(n=11, x=1, y=0), revs[entity, row])

    await one.sync_off()
    for entity in STRATEGIES:
        for row in ("hub", "node"):
            await one.program.put(entity, row, body(n=12, x=0, y=2))
    await at_hub("hub")  # before the node's edit arrives
    one.sync_on()
    await eventually(one.sent_all, "the node is heard")
    await at_hub("node")  # by a person who has not seen it
    await eventually(lambda: merged_at(one), "the node has the hub's edits")
    found = {entity: await site.equal(entity) for entity in STRATEGIES}
    for row in ("hub", "node"):
        assert json.loads(found["newest"][row])["n"] == 11
        assert json.loads(found["central"][row])["n"] == 11
        assert json.loads(found["edge"][row])["n"] == 12
        assert json.loads(found["merged"][row]) == {"n": 13, "x": 1, "y": 2}
    assert json.loads(found["manual"]["hub"])["n"] == 11
    assert json.loads(found["manual"]["node"])["n"] == 12


async def merged_at(node: SharingNode) -> bool:
    return {json.loads(each)["n"] for each in (await node.dump("merged")).values()} == {13}


async def test_a_decision_at_the_hub_ends_the_conflict_on_the_node(site: Fleet) -> None:
    one, two = await pair(site, {NAME: Declaration("manual", priority="high")})
    await one.program.put(NAME, "a", body(x=0))
    await site.equal()
    await two.sync_off()
    await one.program.put(NAME, "a", body(x=1))
    await eventually(one.sent_all, "one is heard")
    await two.program.put(NAME, "a", body(x=2))
    two.sync_on()
    await eventually(two.in_conflict, "two's edit waits")
    assert json.loads((await two.dump())["a"]) == {"x": 1}
    await site.resolve(NAME, "a", two.enrolled.name)

    async def decided() -> bool:
        return not await two.in_conflict() and json.loads((await two.dump())["a"]) == {"x": 2}

    await eventually(decided, "two has its own version back")
    assert json.loads((await site.equal())["a"]) == {"x": 2}


async def test_a_cut_between_push_and_answer_changes_nothing(site: Fleet) -> None:
    one, two = await pair(site, {NAME: Declaration("merge")})
    cut: list[int] = []

    def lose(unit: PushUnit) -> bool:
        """Each frame's first answer."""
        lost = unit.lane.startswith("rows") and unit.first not in cut
        cut.append(unit.first)
        return lost

    one.uplink.lose = two.uplink.lose = lose
    await one.program.put(NAME, "a", body())
    await site.equal()
    for n in range(4):
        for node in (one, two):
            await node.program.upsert(NAME, "a", having(f"{node.enrolled.name}{n}"))
        await eventually(one.sent_all, "one is heard")
    found = await site.equal()
    assert len(json.loads(found["a"])) == 8
    assert len(cut) > len(set(cut))


async def test_an_edit_follows_the_one_before_which_is_on_its_way(site: Fleet) -> None:
    one, two = await pair(site, {NAME: Declaration("merge", priority="high")})
    await one.program.put(NAME, "a", body())
    await site.equal()
    for k in range(20):
        for node in (one, two):
            await node.program.upsert(NAME, "a", having(f"{node.enrolled.name}{k}"))
    found = await site.equal()
    assert len(json.loads(found["a"])) == 40


def having(field: str) -> Callable[[bytes | None], bytes]:
    """A change that adds a field."""
    return lambda held: json.dumps(json.loads(held or b"{}") | {field: 1}).encode()


async def test_a_restored_node_gets_what_it_lost_and_keeps_what_it_had_not_sent(
    site: Fleet, memory_dir: Path
) -> None:
    one, two = await pair(site, PLAIN)
    await one.program.bulk(NAME, [("a", body(v=1)), ("b", body(v=1)), ("gone", b"{}")])
    await site.equal()
    await one.sync_off()
    await one.program.put(NAME, "unsent", body(v=1))
    await one.stop()
    one.copy_to(memory_dir / "copy")
    await one.start_at(site.hub.address)
    one.sync_on()
    await one.program.put(NAME, "a", body(v=2))
    await one.program.put(NAME, "later", b"{}")
    await one.program.delete(NAME, "gone")
    await two.program.put(NAME, "b", body(v=2))
    expected = await site.equal()
    await one.stop()
    one.put_back(memory_dir / "copy")
    await one.start_at(site.hub.address)
    one.sync_on()
    assert await site.equal() == expected
    assert set(expected) == {"a", "b", "later", "unsent"}
    assert json.loads(expected["a"]) == json.loads(expected["b"]) == {"v": 2}


async def test_a_restored_hub_gets_again_what_it_lost(site: Fleet) -> None:
    one, two = await pair(site, PLAIN)
    await one.program.bulk(NAME, [("a", body(v=1)), ("b", body(v=1)), ("gone", b"{}")])
    await site.equal()
    for node in site.nodes:
        await node.stop()
    await site.stop_hub()
    site.copy_hub()
    await site.restart()
    await one.program.put(NAME, "a", body(v=2))
    await two.program.put(NAME, "new", body(v=1))
    await site.equal()
    expected = {"a": body(v=2), "b": body(v=1), "gone": b"{}", "new": body(v=1)}
    for node in site.nodes:
        await node.stop()
    await site.stop_hub()
    site.put_hub_back()
    await site.restart()
    await eventually(lambda: one.log_of("repair"), "one has compared its rows")
    await eventually(lambda: two.log_of("repair"), "two has compared its rows")
    fresh = await site.node("fresh")
    await site.share(PLAIN)
    await eventually(fresh.dump, "the new node has something")
    found = await site.equal()
    assert {row: json.loads(each) for row, each in found.items()} == {
        row: json.loads(each) for row, each in expected.items()
    }


async def test_a_clone_and_its_original_both_write(site: Fleet, memory_dir: Path) -> None:
    one, two = await pair(site, {NAME: Declaration("merge")})
    await one.program.put(NAME, "a", body(v=1))
    await site.equal()
    await one.sync_off()
    await one.program.put(NAME, "before", b"{}")
    await one.stop()
    one.copy_to(memory_dir / "clone")
    await one.start_at(site.hub.address)
    clone = SharingNode(memory_dir / "clone", one.enrolled)
    await clone.start_at(site.hub.address)
    site.nodes.append(clone)
    await one.program.put(NAME, "a", body(v=1, original=1))
    written = await one.program.get(NAME, "a")
    assert written is not None
    clone.rows.hlc.observe(
        written.revision
    )  # two edits of one node in one millisecond would be one edit
    await clone.program.put(NAME, "a", body(v=1, cloned=1))
    one.sync_on()
    clone.sync_on()
    await two.program.put(NAME, "b", b"{}")
    found = await site.equal()
    assert set(found) == {"a", "b", "before"}
    assert {"v": 1, "cloned": 1}.items() <= json.loads(found["a"]).items()
