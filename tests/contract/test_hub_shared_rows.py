"""Shared rows at the hub: edits of nodes are judged, kept and pulled, and everybody ends with the same."""

from __future__ import annotations

import random

import msgspec
import pytest
from tests.bad_units import replaced as replaced_unit
from tests.hub_rig import HubRig
from tests.shared_rows import RowNode, delete, outcomes, patch, put

from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.rows import Resolve, RowPut
from skerry.wire.shared import Buckets, Edit, EditFrame, RowsPull, RowsWanted, SharedRow, judged_of
from skerry.wire.sync import LANES, ROW_LANES, LanePoint


def clock_of(hub: HubRig, ahead_ms: int = 0) -> int:
    return (hub.clock.wall_ns() // 1_000_000 + ahead_ms) << 16


class TestPushAndPull:
    async def test_what_one_node_writes_another_gets(self, hub: HubRig) -> None:
        writer, reader = RowNode(hub, "a"), RowNode(hub, "b")
        reply = await writer.push("recipe", *(put(f"r{n}", {"n": n}) for n in range(5)))
        assert len(set(reply.revs)) == 5
        assert sorted(reply.revs) == reply.revs
        assert judged_of(reply.judged) == []
        part = await reader.pull("recipe")
        assert reader.bodies("recipe") == {f"r{n}": {"n": n} for n in range(5)}
        assert [row.rev for row in part.rows] == reply.revs
        assert {row.origin for row in part.rows} == {"a"}
        assert not part.more
        assert part.digest == reader.digest("recipe")

    async def test_a_writer_is_not_sent_what_it_wrote_unless_it_begins(self, hub: HubRig) -> None:
        writer = RowNode(hub, "a")
        assert (await writer.pull("recipe")).rows == []
        await writer.push("recipe", put("r", {"n": 1}))
        part = await writer.pull("recipe")
        assert part.rows == []
        assert part.digest != writer.digest("recipe")  # of the version that the answer gave it
        anew = RowNode(hub, "a")
        await anew.pull("recipe")
        assert anew.bodies("recipe") == {"r": {"n": 1}}
        assert anew.digest("recipe") == part.digest

    async def test_many_rows_come_in_pages_each_once(self, hub: HubRig) -> None:
        writer, reader, anew = RowNode(hub, "a"), RowNode(hub, "b"), RowNode(hub, "a")
        await writer.push("recipe", *(put(f"r{n}", {"n": n}) for n in range(25)))
        sizes = []
        for node in (reader, anew):
            part = await node.pull("recipe", 10)
            sizes.append(len(part.rows))
            while part.more:
                part = await node.pull("recipe", 10)
                sizes.append(len(part.rows))
            assert part.digest == node.digest("recipe")
        assert sizes == [10, 10, 5] * 2

    async def test_large_rows_come_in_pages_of_a_megabyte(self, hub: HubRig) -> None:
        writer, reader = RowNode(hub, "a"), RowNode(hub, "b")
        text = "x" * 700_000
        await writer.push("recipe", *(put(f"r{n}", {"text": text}) for n in range(3)))
        asked = RowsPull({"recipe": "", "other": ""})
        page = await hub.row_feed.answer("b", asked)
        assert [len(part.rows) for part in page.parts] == [1, 0]
        await reader.pull_all("recipe")
        assert len(reader.rows["recipe"]) == 3

    async def test_entities_that_do_not_fit_are_left_out(self, hub: HubRig) -> None:
        writer = RowNode(hub, "a")
        for entity in ("one", "two"):
            await writer.push(entity, *(put(f"r{n}", {}) for n in range(3)))
        page = await hub.row_feed.answer("b", RowsPull({"one": "", "two": ""}, limit=3))
        assert [part.entity for part in page.parts] == ["one"]

    async def test_changes_while_a_node_begins_reach_it(self, hub: HubRig) -> None:
        writer, reader = RowNode(hub, "a"), RowNode(hub, "b")
        revs = (await writer.push("recipe", *(put(f"r{n}", {"n": n}) for n in range(9)))).revs
        assert (await reader.pull("recipe", 4)).more
        await writer.push("recipe", delete("r1", revs[1], 2), put("r2", {"n": "two"}, revs[2], 2))
        await writer.push("recipe", delete("r8", revs[8], 2))
        part = await reader.pull_all("recipe", 4)
        assert part.digest == reader.digest("recipe")
        assert "r1" not in reader.bodies("recipe")
        assert reader.bodies("recipe")["r2"] == {"n": "two"}

    async def test_a_deleted_row_is_gone_everywhere_and_may_come_again(self, hub: HubRig) -> None:
        writer, reader = RowNode(hub, "a"), RowNode(hub, "b")
        [rev] = (await writer.push("recipe", put("r", {"n": 1}))).revs
        await reader.pull("recipe")
        [gone] = (await writer.push("recipe", delete("r", rev, 2))).revs
        part = await reader.pull("recipe")
        assert (reader.bodies("recipe"), part.digest) == ({}, reader.digest("recipe"))
        await writer.push("recipe", put("r", {"n": 2}, gone, 3))
        part = await reader.pull("recipe")
        assert reader.bodies("recipe") == {"r": {"n": 2}}
        assert part.digest == reader.digest("recipe")

    async def test_a_repeat_is_answered_the_same_and_changes_nothing(self, hub: HubRig) -> None:
        writer, other = RowNode(hub, "a"), RowNode(hub, "b")
        await writer.declare("recipe", "central_wins")
        [rev] = (await writer.push("recipe", put("old", {"n": 1}))).revs
        await other.push("recipe", put("old", {"n": 2}, rev, 5))
        edits = [put("old", {"n": 3}, rev, 6), *(put(f"r{n}", {"n": n}) for n in range(4))]
        unit = writer.unit("recipe", edits, each=2)
        first = await hub.push("a", unit)
        assert outcomes(first) == [(0, "lost")]
        again = await hub.push("a", unit)
        assert (again.revs, again.judged, again.point) == (first.revs, first.judged, first.point)
        longer = replaced_unit(
            unit, frames=[*unit.frames, *writer.unit("recipe", [put("x", {})]).frames]
        )
        more = await hub.push("a", longer)
        assert more.revs[:5] == first.revs
        assert more.judged == first.judged
        reader = RowNode(hub, "c")
        part = await reader.pull("recipe")
        assert len(part.rows) == 6
        assert part.digest == reader.digest("recipe")

    async def test_lanes_are_held_as_the_others(self, hub: HubRig) -> None:
        node = RowNode(hub)
        for lane in ROW_LANES:
            unit = node.unit("recipe", [put(lane, {})], lane)
            reply = await hub.push("n", unit)
            assert reply.point == LanePoint(*node.lanes.points[lane])
        assert set(ROW_LANES) < set(LANES)
        node.unit("recipe", [put("missing", {})])
        gap = await hub.push("n", node.unit("recipe", [put("late", {})]))
        assert (gap.outcome, gap.point.n, gap.revs) == ("gap", 1, [])


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
        assert outcomes(await b.push("recipe", put("r", {"n": 2}, rev, 6))) == []
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


class TestPatches:
    async def test_a_patch_changes_the_row_that_it_was_made_on(self, hub: HubRig) -> None:
        a = RowNode(hub, "a")
        [rev] = (await a.push("recipe", put("r", {"x": 1, "y": 2}))).revs
        reply = await a.push("recipe", patch("r", rev, b'[[["x"],5]]', 2))
        assert judged_of(reply.judged) == []
        assert bytes((await hub.shared_rows.get("recipe", "r")).body) == b'{"x":5,"y":2}'

    async def test_a_patch_of_an_earlier_version_is_judged_by_that_one(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        await a.declare("recipe", "merge")
        [rev] = (await a.push("recipe", put("r", {"x": 1, "y": 2}))).revs
        await b.push("recipe", put("r", {"x": 1, "y": 3}, rev, 2))
        reply = await a.push("recipe", patch("r", rev, b'[[["x"],5]]', 3))
        assert outcomes(reply) == [(0, "merged")]
        assert bytes((await hub.shared_rows.get("recipe", "r")).body) == b'{"x":5,"y":3}'

    async def test_a_patch_whose_base_is_gone_is_answered_whole(self, hub: HubRig) -> None:
        a = RowNode(hub, "a")
        await a.declare("recipe", "merge")
        [rev] = (await a.push("recipe", put("r", {"x": 1, "y": 2}))).revs
        reply = await a.push("recipe", patch("r", rev + 1000, b'[[["x"],5]]', 2))
        assert (outcomes(reply), reply.revs) == ([(0, "whole")], [0])
        base_body = msgspec.Raw(b'{"x":1,"y":0}')
        whole = Edit("r", rev + 1000, 3, "put", msgspec.Raw(b'{"x":5,"y":0}'), base_body=base_body)
        reply = await a.push("recipe", whole)
        assert bytes((await hub.shared_rows.get("recipe", "r")).body) == b'{"x":5,"y":2}'

    async def test_a_large_row_comes_as_a_patch_to_those_who_have_the_one_before(
        self, hub: HubRig
    ) -> None:
        a, b, anew = RowNode(hub, "a"), RowNode(hub, "b"), RowNode(hub, "c")
        large = {f"k{n}": "x" * 100 for n in range(1000)}
        [rev] = (await a.push("recipe", put("r", large))).revs
        await b.pull("recipe")
        for n in range(2):
            changed = large | {"k5": f"changed {n}"}
            [rev] = (await a.push("recipe", put("r", changed, rev, 2 + n))).revs
        part = await b.pull("recipe")
        assert len(bytes(part.rows[0].body)) < 200
        assert b.bodies("recipe") == {"r": changed}
        assert part.digest == b.digest("recipe")
        assert (await anew.pull("recipe")).rows[0].base == 0

    async def test_a_node_in_the_middle_of_the_feed_gets_whole_rows(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        large = {f"k{n}": "x" * 100 for n in range(20)}
        [rev, *_] = (await a.push("recipe", put("r", large), put("q", {}), put("p", {}))).revs
        await a.push("recipe", put("r", large | {"k1": ""}, rev, 2))
        [second] = [r.rev for r in [await hub.shared_rows.get("recipe", "r")]]
        assert (await b.pull("recipe", 1)).more
        await a.push("recipe", put("r", large | {"k2": ""}, second, 3))
        await b.pull_all("recipe", 1)
        assert b.bodies("recipe")["r"] == large | {"k2": ""}


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
        await a.push("recipe", put("r", {"n": "both"}, rev, 9, settles=True))
        assert await hub.shared_rows.conflicts() == []

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
        with pytest.raises(InvalidInput, match="name of an entity"):
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


class TestRepair:
    async def test_buckets_that_differ_name_their_rows(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        revs = (await a.push("recipe", *(put(f"r{n}", {"n": n}) for n in range(300)))).revs
        await a.push("recipe", delete("r299", revs[299], 2))
        await b.pull("recipe")
        assert (await hub.row_feed.buckets(Buckets("recipe", b.sums("recipe")))).differing == {}
        lost = b.rows["recipe"].pop("r7")
        b.rows["recipe"]["r8"] = msgspec.structs.replace(lost, id="r8")
        b.rows["recipe"]["r299"] = msgspec.structs.replace(lost, id="r299")
        reply = await hub.row_feed.buckets(Buckets("recipe", b.sums("recipe")))
        held = {row.id: row for rows in reply.differing.values() for row in rows}
        assert {"r7", "r8", "r299"} <= held.keys()
        assert len(held) < 30
        assert (held["r7"].rev, held["r299"].mark) == (revs[7], 0)
        part = await hub.row_feed.wanted(RowsWanted("recipe", ["r299", "nothing", "r8", "r7"]))
        assert [row.id for row in part.rows] == ["r299", "r8", "r7"]
        b.take("recipe", part.rows)
        assert b.digest("recipe") == (await b.pull("recipe")).digest

    async def test_at_most_sixteen_buckets_at_a_time(self, hub: HubRig) -> None:
        a = RowNode(hub, "a")
        await a.push("recipe", *(put(f"r{n}", {"n": n}) for n in range(600)))
        reply = await hub.row_feed.buckets(Buckets("recipe", [0] * 256))
        assert (len(reply.differing), reply.more) == (16, True)
        with pytest.raises(InvalidInput, match="256 sums"):
            await hub.row_feed.buckets(Buckets("recipe", [0]))

    async def test_a_foreign_cursor_is_answered_with_a_repair(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        await a.push("recipe", put("r", {}))
        part = await a.pull("recipe")
        for entity, cursor in (("recipe", part.cursor), ("other", part.cursor), ("recipe", "x")):
            b.cursors = {entity: cursor}
            assert (await b.pull(entity)).repair == "lost"
            assert (await b.pull(entity)).repair == ""


BAD = {
    "no object": put("r", [1]),
    "no patch": Edit("r", 1, 1, "patch", msgspec.Raw(b"{}")),
    "no id": put("", {}),
    "a long id": put("x" * 300, {}),
    "NUL in an id": put("a\0b", {}),
    "too large": put("r", {"x": "y" * 1_100_000}),
    "a clock that fits no column": put("r", {}, hlc=2**63),
    "a base below nothing": put("r", {}, -1),
}


class TestBadEdits:
    @pytest.mark.parametrize("name", BAD)
    async def test_it_is_refused_and_nothing_is_kept(self, hub: HubRig, name: str) -> None:
        node = RowNode(hub)
        with pytest.raises(InvalidInput):
            await node.push("recipe", put("good", {}), BAD[name])
        assert await hub.shared_rows.entities() == []

    @pytest.mark.parametrize(
        "frame",
        [
            EditFrame("re/cipe", [put("r", {})]),
            EditFrame("", [put("r", {})]),
            EditFrame("entity", [put("recipe", {"strategy": "toss_a_coin"})]),
        ],
        ids=["slash", "empty", "declaration"],
    )
    async def test_so_is_its_frame(self, hub: HubRig, frame: EditFrame) -> None:
        node = RowNode(hub)
        with pytest.raises(InvalidInput):
            await hub.push("n", node.lanes.unit("rows-high", [frame]))

    async def test_text_that_is_not_utf_8_is_refused(self, hub: HubRig) -> None:
        node = RowNode(hub)
        unit = node.unit("recipe", [put("r", {"x": "@@"})])
        broken = msgspec.Raw(bytes(unit.frames[0]).replace(b"@@", b"\xff\xfe"))
        with pytest.raises(InvalidInput, match="UTF-8"):
            await hub.push("n", replaced_unit(unit, frames=[broken]))
