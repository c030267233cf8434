"""Pull on the hub: what changed, the full set, and cursors of a history that the hub has lost."""

import asyncio

import msgspec
import pytest
from sqlalchemy import Connection, delete, update
from tests.hub_rig import (
    HubRig,
    Lanes,
    PullingNode,
    spec,
    status,
)

from skerry.core.cursors import Position, set_digest, sign
from skerry.hub.fleet.controller import MAX_SPEC
from skerry.hub.store import changes
from skerry.hub.store.tables import change, log, state, workload
from skerry.hub.sync.pull import MAX_PAGE
from skerry.wire.codec import encode
from skerry.wire.sync import (
    Pull,
    StateFrame,
)
from skerry.wire.workload import Selector


def described_by(size: int) -> dict[str, str]:
    """An environment of about `size` bytes."""
    return {f"X{start}": "x" * min(100_000, size - start) for start in range(0, size, 100_000)}


class TestPulling:
    @pytest.fixture
    async def node(self, hub: HubRig) -> PullingNode:
        return PullingNode(hub, (await hub.enrol("n1")).node_id)

    async def test_the_first_pull_is_the_full_set_and_later_ones_what_changed(
        self, hub: HubRig, node: PullingNode
    ) -> None:
        await hub.apply(spec("a"), spec("b"))
        [reply] = await node.pull()
        assert (reply.full, len(reply.rows)) == (True, 2)
        [reply] = await node.pull()
        assert (reply.full, reply.rows) == (False, [])
        await hub.apply(spec("b", env={"X": "1"}))
        [reply] = await node.pull()
        assert (reply.full, [row.id for row in reply.rows]) == (False, ["b"])

    async def test_a_slow_node_gets_small_answers_that_make_the_whole_together(
        self, hub: HubRig, node: PullingNode
    ) -> None:
        await hub.apply(*(spec(f"w{n}", env=described_by(2000)) for n in range(6)))
        cursor: str | None = None
        sizes: list[int] = []
        found: set[str] = set()
        while True:
            reply = await hub.feed.answer(node.node_id, Pull(cursor, "", most=6000))
            found |= {row.id for row in reply.rows}
            sizes.append(sum(len(bytes(row.body)) for row in reply.rows))
            if not reply.more:
                break
            cursor = reply.cursor
        assert len(found) == 6
        assert max(sizes) <= 6000
        assert len(sizes) >= 3

    async def test_the_node_is_told_what_the_hub_has_of_it(
        self, hub: HubRig, node: PullingNode
    ) -> None:
        [before] = await node.pull()
        assert before.own == set_digest({})
        unit = Lanes("ab" * 16).unit("state", [StateFrame([status("a"), status("b")])])
        held = (await hub.push(node.node_id, unit)).rows
        [after] = await node.pull()
        assert after.own == set_digest({("status", row.id): row.rev for row in held})

    async def test_several_changes_of_a_row_travel_as_one(
        self, hub: HubRig, node: PullingNode
    ) -> None:
        await node.pull()
        for n in range(5):
            await hub.apply(spec("a", env={"N": str(n)}), spec("b"))
        [reply] = await node.pull()
        assert sorted(row.id for row in reply.rows) == ["a", "b"]
        assert node.assignments()["a"].spec.env == {"N": "4"}

    async def test_many_changes_come_in_pieces(self, hub: HubRig, node: PullingNode) -> None:
        await node.pull()
        await hub.apply(*(spec(f"w{i}") for i in range(10)))
        replies = await node.pull(limit=3)
        assert [len(reply.rows) for reply in replies] == [3, 3, 3, 1]
        assert len(node.assignments()) == 10
        await hub.apply(*(spec(f"w{i}", env={"X": "1"}) for i in range(6)))
        assert [len(reply.rows) for reply in await node.pull(limit=-7)] == [1] * 6

    async def test_the_full_set_comes_in_pieces_too(self, hub: HubRig, node: PullingNode) -> None:
        await hub.apply(*(spec(f"w{i}") for i in range(7)))
        await hub.apply(spec("w0", env={"X": "1"}))
        await hub.workloads.delete("w3", "ann")
        replies = await node.pull(limit=4)
        assert [(r.full, len(r.rows), r.more) for r in replies] == [
            (True, 4, True),
            (False, 3, False),
        ]
        assert sorted(node.assignments()) == ["w0", "w1", "w2", "w4", "w5", "w6"]
        assert [(r.full, r.rows) for r in await node.pull()] == [(False, [])]

    async def test_answers_are_bounded_by_bytes(self, hub: HubRig, node: PullingNode) -> None:
        large = described_by(300_000)
        await hub.apply(*(spec(f"w{i}", env=large) for i in range(40)))
        replies = await node.pull()
        assert len(node.assignments()) == 40
        assert max(len(encode(reply)) for reply in replies) <= MAX_PAGE
        assert sum(len(encode(reply)) for reply in replies) > 8 * 1024 * 1024
        assert [reply.full for reply in replies] == [True] + [False] * (len(replies) - 1)
        assert [(r.full, r.rows) for r in await node.pull()] == [(False, [])]
        await hub.apply(*(spec(f"w{i}", env=large | {"Y": "1"}) for i in range(10)))
        assert max(len(encode(reply)) for reply in await node.pull()) <= MAX_PAGE

    async def test_a_row_that_is_larger_than_a_page_comes_alone(
        self, hub: HubRig, node: PullingNode
    ) -> None:
        await hub.apply(*(spec(n, env=described_by(MAX_SPEC - 1000)) for n in "abc"))
        assert [len(reply.rows) for reply in await node.pull()] == [1, 1, 1]

    async def test_a_change_between_two_pieces_is_not_lost(
        self, hub: HubRig, node: PullingNode
    ) -> None:
        await hub.apply(*(spec(f"w{i}") for i in range(4)))
        first = await hub.feed.answer(node.node_id, Pull(None, "", 2))
        await hub.apply(spec("w0", env={"X": "1"}))
        await hub.workloads.delete("w3", "ann")
        rest = await hub.feed.answer(node.node_id, Pull(first.cursor, ""))
        assert [(row.id, row.deleted) for row in rest.rows] == [
            ("w2", False),
            ("w0", False),
            ("w3", True),
        ]
        assert not rest.more

    async def test_another_nodes_changes_are_not_mine(self, hub: HubRig, node: PullingNode) -> None:
        await hub.enrol("n2", site="x")
        await node.pull()
        before = node.cursor
        await hub.apply(spec("a", on=Selector(node="n2")))
        [reply] = await node.pull()
        assert (reply.full, reply.rows, reply.cursor) == (False, [], before)

    @pytest.mark.guarantee("G6")
    async def test_a_set_that_differs_is_repaired(self, hub: HubRig, node: PullingNode) -> None:
        await hub.apply(spec("a"), spec("b"))
        await node.pull()
        await hub.apply(spec("gone"))
        await hub.workloads.delete("gone", "ann")
        await node.pull()
        node.rows.pop(("assignment", "a"))
        node.rows["assignment", "b"] = msgspec.structs.replace(node.rows["assignment", "b"], rev=99)
        [reply] = await node.pull()
        assert reply.full
        assert sorted(row.id for row in reply.rows) == ["a", "b"]
        assert sorted(node.assignments()) == ["a", "b"]
        assert [r.full for r in await node.pull()] == [False]

    async def test_a_cursor_that_is_not_ours_gives_the_full_set(
        self, hub: HubRig, node: PullingNode
    ) -> None:
        await hub.apply(spec("a"))
        await node.pull()
        forged = sign(Position(1, 1, "aa", node.node_id), b"another key")
        foreign = sign(Position(1, 0, "", "another node"), hub.store.facts.cursor_key)
        for cursor in ("", "x", "é", "AAAA", "=" * 99, forged, foreign):
            reply = await hub.feed.answer(node.node_id, Pull(cursor, ""))
            assert (cursor, reply.full, len(reply.rows)) == (cursor, True, 1)
        assert await epoch(hub) == 1

    async def test_a_node_whose_change_was_pruned_gets_the_full_set_in_the_same_epoch(
        self, hub: HubRig, node: PullingNode
    ) -> None:
        await hub.apply(spec("a"))
        await node.pull()
        await hub.apply(spec("a", env={"X": "1"}))
        hub.clock.advance(30 * 86400.0)
        await hub.retention.sweep(hub.clock.wall_ns())
        [reply] = await node.pull()
        assert reply.full
        assert node.assignments()["a"].spec.env == {"X": "1"}
        assert await epoch(hub) == 1


async def epoch(hub: HubRig) -> int:
    return (await hub.store.read(changes.read_log)).epoch


class TestLostHistory:
    """The log went back, as after a restore: what a node's cursor names is gone or is something else now."""

    async def test_the_epoch_rises_once_and_everything_is_issued_again(self, hub: HubRig) -> None:
        ids = [(await hub.enrol(name)).node_id for name in ("n1", "n2")]
        nodes = [PullingNode(hub, each) for each in ids]
        await hub.apply(spec("a"))
        kept = await hub.store.read(changes.read_log)
        await hub.apply(spec("a", env={"X": "lost"}), spec("b"))
        for node in nodes:
            await node.pull()
        held = nodes[0].assignments()["a"].generation
        await self._go_back(hub, kept.seq)
        hub.news.clear()
        # both notice at the same time
        for node, [reply] in zip(
            nodes, await asyncio.gather(*(n.pull() for n in nodes)), strict=True
        ):
            assert reply.full
            assert set(node.assignments()) == {"a"}
            assert node.assignments()["a"].generation > held
        assert await epoch(hub) == 2
        assert hub.news == sorted(ids)
        [view] = await hub.workloads.list("a")
        assert view.generation.epoch == 2
        assert [r.full for r in await nodes[1].pull()] == [False]

    async def test_new_changes_under_old_numbers_are_noticed_by_their_tags(
        self, hub: HubRig
    ) -> None:
        node = PullingNode(hub, (await hub.enrol("n1")).node_id)
        await hub.apply(spec("a"))
        await node.pull()
        await self._go_back(hub, 0)
        for n in range(4):
            await hub.apply(spec("other", env={"N": str(n)}))
        [reply] = await node.pull()
        assert reply.full
        assert await epoch(hub) == 2

    async def test_numbers_that_only_statuses_used_since_are_noticed_too(self, hub: HubRig) -> None:
        node = PullingNode(hub, (await hub.enrol("n1")).node_id)
        await hub.apply(spec("a"))
        await node.pull()
        await self._go_back(hub, 0)
        for n in range(9):
            await hub.push(
                node.node_id, Lanes(f"{n:032x}").unit("state", [StateFrame([status("a", hlc=n)])])
            )
        await node.pull()
        assert await epoch(hub) == 2

    async def test_a_node_that_saw_a_later_epoch_raises_it_further(self, hub: HubRig) -> None:
        node = PullingNode(hub, (await hub.enrol("n1")).node_id)
        cursor = sign(Position(7, 1, "aa", node.node_id), hub.store.facts.cursor_key)
        assert (await hub.feed.answer(node.node_id, Pull(cursor, ""))).full
        assert await epoch(hub) == 8

    @staticmethod
    async def _go_back(hub: HubRig, seq: int) -> None:
        def work(connection: Connection) -> None:
            connection.execute(delete(change).where(change.c.seq > seq))
            connection.execute(delete(state).where(state.c.rev > seq))
            connection.execute(update(log).values(seq=seq))
            connection.execute(delete(workload).where(workload.c.name != "a"))

        await hub.store.write(work)
