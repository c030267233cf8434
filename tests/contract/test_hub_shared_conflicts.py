"""Shared rows that several have edited: who wins, what is merged, what waits for a person, and what the history keeps."""

from __future__ import annotations

import random

import msgspec
import pytest
from tests.hub_rig import HubRig
from tests.shared_rows import RowNode, delete, outcomes, put

from skerry.hub.changes import Changes
from skerry.hub.hearing import Hearing
from skerry.hub.link import Links
from skerry.hub.peers import Peers
from skerry.hub.store import notices
from skerry.hub.store.shared_pruning import prune
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire import entities
from skerry.wire.codec import encode
from skerry.wire.entities import Change
from skerry.wire.rows import Decision, Resolve, RowPut
from skerry.wire.shared import Edit, SharedRow, judged_of


def clock_of(hub: HubRig, ahead_ms: int = 0) -> int:
    return (hub.clock.wall_ns() // 1_000_000 + ahead_ms) << 16


class TestJudging:
    async def test_last_modified_keeps_the_later_and_the_loser_in_the_history(
        self, hub: HubRig
    ) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        [rev] = (await a.push("recipe", put("r", {"n": 0}, hlc=1))).revs
        [second] = (await a.push("recipe", put("r", {"n": "a"}, rev, hlc=9))).revs
        late = await b.push("recipe", put("r", {"n": "b"}, rev, hlc=5))
        [judged] = judged_of(late.judged)
        assert (judged.outcome, late.revs) == ("lost", [second])
        assert judged.row is not None
        assert (judged.row.rev, bytes(judged.row.body)) == (second, b'{"n":"a"}')
        newer = await b.push("recipe", put("r", {"n": "b2"}, rev, hlc=10))
        assert judged_of(newer.judged) == []
        history = await hub.shared_rows.history("recipe", "r")
        assert [(each.state, each.was_row, bytes(each.body)) for each in history] == [
            ("superseded", True, b'{"n":0}'),
            ("lost", True, b'{"n":"a"}'),
            ("lost", False, b'{"n":"b"}'),
            ("now", True, b'{"n":"b2"}'),
        ]

    async def test_a_clock_that_is_ahead_counts_for_a_minute(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        year = 365 * 86_400_000
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        await a.push("recipe", put("r", {"n": "a"}, rev, clock_of(hub, year)))
        hub.clock.advance(120.0)
        reply = await b.push("recipe", put("r", {"n": "b"}, rev, clock_of(hub)))
        assert judged_of(reply.judged) == []
        assert bytes((await hub.shared_rows.get("recipe", "r")).body) == b'{"n":"b"}'

    async def test_merge_puts_both_sides_changes_together(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        await a.declare("recipe", "merge")
        [rev] = (await a.push("recipe", put("r", {"x": 0, "y": 0}))).revs
        await a.push("recipe", put("r", {"x": 1, "y": 0}, rev, 2))
        reply = await b.push("recipe", put("r", {"x": 0, "y": 2}, rev, 3))
        [judged] = judged_of(reply.judged)
        assert judged.outcome == "merged"
        assert judged.row is not None
        assert msgspec.json.decode(judged.row.body) == {"x": 1, "y": 2}
        assert reply.revs == [judged.row.rev]
        part = await a.pull("recipe")
        assert [bytes(row.body) for row in part.rows] == [bytes(judged.row.body)]
        assert part.digest == a.digest("recipe")

    async def test_a_merged_edit_that_a_restored_node_sends_again_is_not_merged_twice(
        self, hub: HubRig
    ) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        await a.push("entity", put("recipe", {"strategy": "merge", "fields": {"n": "sum"}}))
        [rev] = (await a.push("recipe", put("r", {"n": 10}))).revs
        await a.push("recipe", put("r", {"n": 11}, rev, 2))
        await b.push("recipe", put("r", {"n": 15}, rev, 3))
        assert bytes((await hub.shared_rows.get("recipe", "r")).body) == b'{"n":16}'
        await a.pull("recipe")
        await a.push("recipe", put("r", {"n": 17}, a.rows["recipe"]["r"].rev, 4))
        again = RowNode(hub, "b", "33" * 16)
        reply = await again.push("recipe", put("r", {"n": 15}, rev, 3))
        assert outcomes(reply) == [(0, "lost")]
        assert bytes((await hub.shared_rows.get("recipe", "r")).body) == b'{"n":17}'

    async def test_a_merged_edit_that_comes_again_brings_the_merged_row(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        await a.declare("recipe", "merge")
        [rev] = (await a.push("recipe", put("r", {"x": 0, "y": 0}))).revs
        await a.push("recipe", put("r", {"x": 1, "y": 0}, rev, 2))
        edit = put("r", {"x": 0, "y": 2}, rev, 3)
        [merged] = (await b.push("recipe", edit)).revs
        reply = await RowNode(hub, "b", "33" * 16).push("recipe", edit)
        [judged] = judged_of(reply.judged)
        assert judged.row is not None
        assert (judged.row.rev, bytes(judged.row.body)) == (merged, b'{"x":1,"y":2}')

    async def test_edits_by_a_clock_that_is_ahead_stay_apart(self, hub: HubRig) -> None:
        """They count as made in one millisecond, and are no repeats of each other."""
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        year = clock_of(hub, 365 * 86_400_000)
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        [second] = (await a.push("recipe", put("r", {"n": 1}, rev, year))).revs
        assert outcomes(await a.push("recipe", put("r", {"n": 2}, rev, year + 1))) == []
        await b.push("recipe", put("r", {"n": 3}, second, clock_of(hub)))
        history = await hub.shared_rows.history("recipe", "r")
        assert [bytes(each.body) for each in history if each.was_row] == [
            b'{"n":0}',
            b'{"n":1}',
            b'{"n":2}',
        ]

    async def test_the_hubs_clock_goes_back_between_two_edits_by_a_node(self, hub: HubRig) -> None:
        """The node's is ahead of both, so the hub's counts; its new row follows the one that it has deleted."""
        a, year = RowNode(hub, "a"), clock_of(hub, 365 * 86_400_000)
        await a.push("recipe", put("r", {"n": 0}, 0, year))
        await a.push("recipe", Edit("r", 0, year + 1, "delete"))
        hub.clock.jump_wall(-300.0)
        assert outcomes(await a.push("recipe", put("r", {"n": 1}, 0, year + 2))) == []
        assert bytes((await hub.shared_rows.get("recipe", "r")).body) == b'{"n":1}'

    @pytest.mark.parametrize("strategy", ["central_wins", "edge_wins"])
    async def test_hub_and_node_edit_the_same_row(self, hub: HubRig, strategy: str) -> None:
        a = RowNode(hub, "a")
        await a.declare("recipe", strategy)  # type: ignore[arg-type]
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        await hub.shared_rows.put("recipe", "r", RowPut(msgspec.Raw(b'{"n":"hub"}')))
        reply = await a.push("recipe", put("r", {"n": "node"}, rev, clock_of(hub, 5)))
        won = bytes((await hub.shared_rows.get("recipe", "r")).body)
        if strategy == "central_wins":
            assert (outcomes(reply), won) == ([(0, "lost")], b'{"n":"hub"}')
        else:
            assert (outcomes(reply), won) == ([], b'{"n":"node"}')

    async def test_an_edit_of_a_deleted_row_is_judged_by_the_clock(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        await a.push("recipe", delete("r", rev, 5))
        early = await b.push("recipe", put("r", {"n": 1}, rev, 4))
        [judged] = judged_of(early.judged)
        assert judged.outcome == "lost"
        assert judged.row is not None
        assert judged.row.deleted
        assert judged_of((await b.push("recipe", put("r", {"n": 2}, rev, 6))).judged) == []
        assert bytes((await hub.shared_rows.get("recipe", "r")).body) == b'{"n":2}'

    async def test_a_row_may_come_twice_in_a_unit(self, hub: HubRig) -> None:
        a = RowNode(hub, "a")
        reply = await a.push(
            "recipe", put("r", {"n": 1}, hlc=1), put("r", {"n": 2}, hlc=2), put("q", {})
        )
        assert len(set(reply.revs)) == 3
        history = await hub.shared_rows.history("recipe", "r")
        assert [(each.state, bytes(each.body)) for each in history] == [
            ("lost", b'{"n":1}'),
            ("now", b'{"n":2}'),
        ]
        reader = RowNode(hub, "b")
        assert (await reader.pull("recipe")).digest == reader.digest("recipe")

    async def test_a_body_that_nobody_can_read_keeps_no_lane_waiting(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        await a.declare("recipe", "merge")
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        broken = Edit("r", rev, 2, "put", msgspec.Raw(b'{"n":1e999}'))
        await a.push("recipe", broken)
        reply = await b.push("recipe", put("r", {"n": 2}, rev, 3), put("q", {}))
        assert outcomes(reply) == [(0, "lost")]

    async def test_everybody_ends_with_the_same_whatever_the_order(self, hub: HubRig) -> None:
        chance = random.Random(5)
        nodes = [RowNode(hub, name) for name in "abc"]
        await nodes[0].declare("recipe", "merge")
        for step in range(120):
            node = chance.choice(nodes)
            if chance.random() < 0.3:
                await node.pull_all("recipe", 3)
                continue
            row_id = f"r{chance.randrange(6)}"
            held = node.rows.get("recipe", {}).get(row_id)
            base = 0 if held is None else held.rev
            body = {} if held is None else msgspec.json.decode(held.body)
            body[chance.choice("xyz")] = step
            gone = held is not None and chance.random() < 0.2
            edit = delete(row_id, base, step) if gone else put(row_id, body, base, step)
            reply = await node.push("recipe", edit)
            told = {judged.index: judged.row for judged in judged_of(reply.judged)}
            row = told.get(0) or SharedRow(
                row_id, reply.revs[0], step, node.node_id, deleted=gone, body=edit.body
            )
            node.take("recipe", [row])
        parts = [await node.pull_all("recipe", 3) for node in nodes]
        assert len({part.digest for part in parts}) == 1
        assert {node.digest("recipe") for node in nodes} == {parts[0].digest}
        assert nodes[0].bodies("recipe") == nodes[1].bodies("recipe") == nodes[2].bodies("recipe")


class TestManualConflicts:
    async def in_conflict(self, hub: HubRig) -> tuple[RowNode, RowNode, int]:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        await a.declare("recipe", "manual")
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        await a.push("recipe", put("r", {"n": "a"}, rev, 2))
        reply = await b.push("recipe", put("r", {"n": "b"}, rev, 3))
        assert outcomes(reply) == [(0, "conflict")]
        return a, b, rev

    async def test_the_row_goes_on_and_the_edit_waits_with_its_base(self, hub: HubRig) -> None:
        a, b, rev = await self.in_conflict(hub)
        [listed] = await hub.shared_rows.conflicts()
        assert (listed.entity, listed.id, listed.node) == ("recipe", "r", "b")
        shown = await hub.shared_rows.conflict("recipe", "r")
        [wait] = shown.waiting
        assert shown.row is not None
        assert (bytes(shown.row.body), bytes(wait.body)) == (b'{"n":"a"}', b'{"n":"b"}')
        assert (wait.base_rev, bytes(wait.base)) == (rev, b'{"n":0}')
        assert not wait.deleted
        await a.push("recipe", put("r", {"n": "a2"}, shown.row.rev, 4))
        assert len(await hub.shared_rows.conflicts("recipe")) == 1
        assert await hub.shared_rows.conflicts("other") == []
        await b.pull("recipe")
        assert b.bodies("recipe") == {"r": {"n": "a2"}}

    @pytest.mark.parametrize(
        ("decision", "body"),
        [
            (Resolve("hub"), b'{"n":"a"}'),
            (Resolve("node"), b'{"n":"b"}'),
            (Resolve("node", "b"), b'{"n":"b"}'),
            (Resolve("body", body=msgspec.Raw(b'{"n": 7}')), b'{"n":7}'),
        ],
        ids=["hub", "node", "named node", "body"],
    )
    async def test_a_decision_reaches_everybody(
        self, hub: HubRig, decision: Resolve, body: bytes
    ) -> None:
        a, b, _ = await self.in_conflict(hub)
        done = await hub.shared_rows.resolve("recipe", "r", decision)
        assert done.outcome == "edit"
        assert await hub.shared_rows.conflicts() == []
        for node in (a, b):
            part = await node.pull("recipe")
            assert (part.rows[-1].rev, bytes(part.rows[-1].body)) == (done.rev, body)
            assert part.digest == node.digest("recipe")
        states = [each.state for each in await hub.shared_rows.history("recipe", "r")]
        assert states == ["superseded", "superseded", "decided", "now"]
        with pytest.raises(NotFound, match="nothing waits"):
            await hub.shared_rows.resolve("recipe", "r", decision)

    async def test_a_node_may_decide_too(self, hub: HubRig) -> None:
        a, _, _ = await self.in_conflict(hub)
        rev = (await hub.shared_rows.get("recipe", "r")).rev
        reply = await a.push("recipe", put("r", {"n": "both"}, rev, 9, settles=True))
        assert await hub.shared_rows.conflicts() == []
        [decision] = await hub.shared_rows.decisions("recipe", 10)
        assert (decision.where, decision.who, [decision.rev]) == (a.node_id, "", reply.revs)

    async def test_who_has_decided_is_kept_and_shown(self, hub: HubRig) -> None:
        await self.in_conflict(hub)
        at = hub.clock.wall_ns()
        done = await hub.shared_rows.resolve("recipe", "r", Resolve("node"), "ann")
        decision = Decision("recipe", "r", done.rev, "hub", "ann", at)
        assert await hub.shared_rows.decisions(None, 10) == [decision]
        assert await hub.shared_rows.decisions("other", 10) == []
        history = await hub.shared_rows.history("recipe", "r")
        assert [each.decision for each in history if each.decision] == [decision]
        assert history[-1].decision == decision
        with pytest.raises(NotFound, match=f"nothing waits; «ann» at hub .* revision {done.rev}"):
            await hub.shared_rows.conflict("recipe", "r")

    async def test_a_program_at_the_hub_decides_as_who_asks(self, hub: HubRig) -> None:
        await self.in_conflict(hub)
        settle = Change("settle", "r", msgspec.Raw(b'{"n":"both"}'))
        await hub.model_rows.change("recipe", entities.Changes([settle]), "ann")
        assert [each.who for each in await hub.shared_rows.decisions("recipe", 10)] == ["ann"]

    async def test_what_decides_nothing_is_no_decision(self, hub: HubRig) -> None:
        a = RowNode(hub, "a")
        await a.declare("recipe", "manual")
        await a.push("recipe", put("r", {"n": 1}, settles=True))
        assert await hub.shared_rows.decisions("recipe", 10) == []

    async def test_a_decision_is_forgotten_with_what_rows_were(self, hub: HubRig) -> None:
        await self.in_conflict(hub)
        await hub.shared_rows.resolve("recipe", "r", Resolve("node"), "ann")
        hub.clock.advance(1.0)
        while await hub.store.write(lambda c: prune(c, hub.clock.wall_ns(), 100)):
            pass
        assert await hub.shared_rows.decisions("recipe", 10) == []

    async def test_a_later_edit_of_the_same_node_takes_the_place_of_the_first(
        self, hub: HubRig
    ) -> None:
        _, b, rev = await self.in_conflict(hub)
        again = RowNode(hub, "b", "44" * 16)
        assert outcomes(await again.push("recipe", put("r", {"n": "b"}, rev, 3))) == [
            (0, "conflict")
        ]
        assert len(await hub.shared_rows.history("recipe", "r")) == 3
        await b.push("recipe", put("r", {"n": "b2"}, rev, 4))
        shown = await hub.shared_rows.conflict("recipe", "r")
        assert [bytes(wait.body) for wait in shown.waiting] == [b'{"n":"b2"}']

    async def test_two_of_a_unit_leave_one(self, hub: HubRig) -> None:
        _, b, rev = await self.in_conflict(hub)
        reply = await b.push("recipe", *(put("r", {"n": n + 5}, rev, 5 + n) for n in range(3)))
        assert outcomes(reply) == [(n, "conflict") for n in range(3)]
        [wait] = (await hub.shared_rows.conflict("recipe", "r")).waiting
        assert bytes(wait.body) == b'{"n":7}'
        states = [each.state for each in await hub.shared_rows.history("recipe", "r")]
        assert states.count("lost") == 3

    async def test_a_base_that_the_hub_never_had_is_kept_with_the_edit(self, hub: HubRig) -> None:
        _, b, _ = await self.in_conflict(hub)
        edit = Edit("r", -1, 4, "put", msgspec.Raw(b'{"n":2}'), base_body=msgspec.Raw(b'{"n":1}'))
        assert outcomes(await b.push("recipe", edit)) == [(0, "conflict")]
        [wait] = (await hub.shared_rows.conflict("recipe", "r")).waiting
        assert (bytes(wait.body), bytes(wait.base)) == (b'{"n":2}', b'{"n":1}')

    async def test_which_of_several_must_be_said(self, hub: HubRig) -> None:
        _, _, rev = await self.in_conflict(hub)
        await RowNode(hub, "c").push("recipe", delete("r", rev, 5))
        with pytest.raises(Refused, match=r"edits of b, c wait"):
            await hub.shared_rows.resolve("recipe", "r", Resolve("node"))
        with pytest.raises(NotFound, match="only of b, c"):
            await hub.shared_rows.resolve("recipe", "r", Resolve("node", "x"))
        with pytest.raises(InvalidInput, match="give a body"):
            await hub.shared_rows.resolve("recipe", "r", Resolve("body"))
        await hub.shared_rows.resolve("recipe", "r", Resolve("node", "c"))
        with pytest.raises(NotFound):
            await hub.shared_rows.get("recipe", "r")


class TestTheHubsOwnEdits:
    async def test_create_put_list_and_delete(self, hub: HubRig) -> None:
        rows = hub.shared_rows
        first = await rows.create("recipe", "a", b'{"n": 1}')
        with pytest.raises(Refused, match="it is there"):
            await rows.create("recipe", "a", b"{}")
        await rows.put("recipe", "b", RowPut(msgspec.Raw(b"{}")))
        await rows.put("recipe", "c", RowPut(msgspec.Raw(b"{}")))
        page = await rows.list("recipe", limit=2)
        assert ([row.id for row in page.rows], page.next) == (["a", "b"], "b")
        page = await rows.list("recipe", page.next, 2)
        assert ([row.id for row in page.rows], page.next) == (["c"], "")
        await rows.delete("recipe", "a", first.rev)
        with pytest.raises(NotFound):
            await rows.delete("recipe", "a")
        [view] = await rows.entities()
        assert (view.entity, view.rows, view.conflicts) == ("recipe", 2, 0)
        assert (await rows.create("recipe", "a", b"{}")).outcome == "edit"

    async def test_an_edit_of_an_older_revision_is_judged(self, hub: HubRig) -> None:
        a = RowNode(hub, "a")
        await a.declare("recipe", "edge_wins")
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        [now] = (await a.push("recipe", put("r", {"n": 1}, rev, 2))).revs
        late = await hub.shared_rows.put("recipe", "r", RowPut(msgspec.Raw(b"{}"), rev))
        assert (late.outcome, late.rev) == ("lost", now)

    @pytest.mark.parametrize("body", [b"[]", b"{", b'{"n":1e999}'])
    async def test_what_is_no_body_is_refused(self, hub: HubRig, body: bytes) -> None:
        with pytest.raises(InvalidInput):
            await hub.shared_rows.create("recipe", "r", body)

    async def test_a_declaration_must_be_one(self, hub: HubRig) -> None:
        with pytest.raises(InvalidInput, match="declaration"):
            await hub.shared_rows.create("entity", "recipe", b'{"strategy":"toss_a_coin"}')
        with pytest.raises(InvalidInput, match="its name has letters"):
            await hub.shared_rows.create("re/cipe", "r", b"{}")

    async def test_nodes_that_pull_an_entity_hear_of_its_changes(self, hub: HubRig) -> None:
        a, b, c = RowNode(hub, "a"), RowNode(hub, "b"), RowNode(hub, "c")
        for node in (a, b):
            await node.pull("recipe")
        await c.pull("other")
        await a.push("recipe", put("r", {}))
        assert hub.news == ["b"]
        await hub.shared_rows.put("recipe", "r", RowPut(msgspec.Raw(b'{"n":1}')))
        assert hub.news == ["b", "a", "b"]

    async def test_nodes_hear_of_what_another_hub_process_has_taken(self, hub: HubRig) -> None:
        await RowNode(hub, "a").pull("recipe")
        its = (hub.store, Links(), hub.nodes, hub.rollouts, Changes(), hub.clock)
        its_own = {"peers": Peers(hub.store, "", "", ""), "readers": hub.readers}
        hearing = Hearing(*its, **its_own, trust=Changes().heard)
        told = notices.Told("another", notices.Shared(["recipe"]))
        hearing.heard(notices.read_notice(encode(told).decode()).notice)
        hearing.heard(notices.Shared(["other"]))
        assert hub.news == ["a"]
        hearing.heard(notices.Deleted("a"))
        hearing.heard(notices.Shared(["recipe"]))
        assert hub.news == ["a"]
