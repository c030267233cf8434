"""Shared rows at the hub: edits of nodes are judged, kept and pulled, and everybody ends with the same."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import text
from tests.bad_units import replaced as replaced_unit
from tests.contract.conftest import DATABASES
from tests.hub_rig import HubRig
from tests.shared_rows import RowNode, delete, outcomes, patch, put

from skerry.kit.errors import InvalidInput
from skerry.wire.codec import encode
from skerry.wire.shared import (
    Buckets,
    Edit,
    EditFrame,
    RowsPull,
    RowsWanted,
    SharedRow,
    judged_of,
)
from skerry.wire.sync import LANES, ROW_LANES, LanePoint


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

    @pytest.mark.parametrize("database_url", DATABASES[1:], indirect=True)
    async def test_postgresql_has_counted_an_entity_that_grew(self, hub: HubRig) -> None:
        await RowNode(hub, "a").push("recipe", *(put(f"r{n}", {}) for n in range(300)))
        counted = text("SELECT reltuples FROM pg_class WHERE relname = 'shared_row'")
        assert await hub.store.read(lambda c: c.execute(counted).scalar()) == 300

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
        assert judged_of(more.judged) == judged_of(first.judged)
        reader = RowNode(hub, "c")
        part = await reader.pull("recipe")
        assert len(part.rows) == 6
        assert part.digest == reader.digest("recipe")

    @pytest.mark.guarantee("G1")
    async def test_a_unit_before_the_last_is_repeated_by_who_died_with_its_answer(
        self, hub: HubRig
    ) -> None:
        """A node takes over an answer while its next unit is on its way."""
        writer, other = RowNode(hub, "a"), RowNode(hub, "b")
        await writer.declare("recipe", "central_wins")
        [rev] = (await writer.push("recipe", put("old", {"n": 1}))).revs
        await other.push("recipe", put("old", {"n": 2}, rev, 5))
        edits = [put("old", {"n": 3}, rev, 6), put("new", {"n": 1})]
        before, last = writer.unit("recipe", edits), writer.unit("recipe", [put("last", {})])
        first, _ = await hub.push("a", before), await hub.push("a", last)
        again = await hub.push("a", before)
        assert outcomes(again) == [(0, "lost")]
        assert (again.revs, again.judged) == (first.revs, first.judged)

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

    async def test_a_large_row_comes_as_a_patch_to_who_made_the_one_before(
        self, hub: HubRig
    ) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        large = {f"k{n}": "x" * 100 for n in range(1000)}
        [rev] = (await b.push("recipe", put("r", large))).revs
        await a.pull("recipe")
        for n in range(2):  # in turns; what a node makes itself it does not pull
            ours = large | {"k5": f"by the node {n}"}
            [rev] = (await a.push("recipe", put("r", ours, rev, 2 * n + 2))).revs
            a.take("recipe", [SharedRow("r", rev, 2 * n + 2, "a", body=msgspec.Raw(encode(ours)))])
            theirs = large | {"k6": f"by another {n}"}
            [rev] = (await b.push("recipe", put("r", theirs, rev, 2 * n + 3))).revs
            part = await a.pull("recipe")
            assert (part.rows[0].rev, len(bytes(part.rows[0].body)) < 200) == (rev, True)
            assert a.bodies("recipe") == {"r": theirs}
            assert part.digest == a.digest("recipe")

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
    "a base below nothing": put("r", {}, -2),
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
