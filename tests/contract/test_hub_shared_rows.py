"""Shared rows at the hub: edits of nodes are judged, kept and pulled, and everybody ends with the same."""

from __future__ import annotations

from tests.bad_units import replaced as replaced_unit
from tests.hub_rig import HubRig
from tests.shared_rows import RowNode, delete, outcomes, put

from skerry.wire.shared import RowsPull, judged_of
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
