"""Shared rows over time: what is forgotten after the horizon, and what happens when the hub is put back."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, func, select
from tests.hub_rig import DAY, HubRig
from tests.restorable_hub import RestorableHub
from tests.shared_rows import RowNode, delete, outcomes, patch, put

from skerry.hub.store import changes
from skerry.hub.store.shared_tables import shared_answer, shared_commit, shared_version
from skerry.wire.rows import Resolve
from skerry.wire.shared import judged_of


async def counts(hub: HubRig) -> dict[str, int]:
    def read(connection: Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (shared_answer, shared_commit, shared_version)
        }

    return await hub.store.read(read)


async def sweep(hub: HubRig, days: float) -> None:
    hub.clock.advance(days * DAY)
    await hub.retention.sweep(hub.clock.wall_ns())


class TestTheHorizon:
    async def test_old_versions_are_forgotten_and_the_row_stays(self, hub: HubRig) -> None:
        a = RowNode(hub, "a")
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        await a.push("recipe", put("r", {"n": 1}, rev, 2))
        await sweep(hub, 29)
        assert len(await hub.shared_rows.history("recipe", "r")) == 2
        await sweep(hub, 2)
        assert len(await hub.shared_rows.history("recipe", "r")) == 1
        assert await counts(hub) == {"shared_answer": 0, "shared_commit": 1, "shared_version": 0}
        anew = RowNode(hub, "b")
        assert (await anew.pull("recipe")).digest == anew.digest("recipe")

    async def test_the_base_of_a_conflict_stays_until_it_is_decided(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        await a.declare("recipe", "manual")
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        await a.push("recipe", put("r", {"n": 1}, rev, 2))
        await b.push("recipe", put("r", {"n": 2}, rev, 3))
        await sweep(hub, 31)
        [wait] = (await hub.shared_rows.conflict("recipe", "r")).waiting
        assert bytes(wait.base) == b'{"n":0}'
        await hub.shared_rows.resolve("recipe", "r", Resolve("hub"))
        await sweep(hub, 31)
        assert (await counts(hub))["shared_version"] == 0

    async def test_a_node_that_was_away_longer_compares_buckets(self, hub: HubRig) -> None:
        a, b, current = RowNode(hub, "a"), RowNode(hub, "b"), RowNode(hub, "c")
        revs = (await a.push("recipe", put("r", {}), put("q", {}))).revs
        await b.pull("recipe")
        await a.push("recipe", delete("r", revs[0], 2))
        await current.pull("recipe")
        await sweep(hub, 31)
        await a.push("recipe", put("p", {}))
        part = await b.pull("recipe")
        assert (part.repair, part.rows, part.more) == ("horizon", [], False)
        assert part.digest != b.digest("recipe")
        assert (await b.pull("recipe")).repair == ""
        part = await current.pull("recipe")  # which knew of the deletion
        assert part.repair == ""
        assert part.digest == current.digest("recipe")

    async def test_a_node_that_begins_meanwhile_is_not_told_to_compare(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        revs = (await a.push("recipe", *(put(f"r{n}", {}) for n in range(6)))).revs
        await a.push("recipe", delete("r0", revs[0], 2))
        await sweep(hub, 31)
        while (part := await b.pull("recipe", 2)).more:
            assert part.repair == ""
        assert (part.repair, part.digest) == ("", b.digest("recipe"))

    @pytest.mark.parametrize(
        ("days", "outcome"), [(1, []), (-40, [(0, "lost")])], ids=["later", "earlier"]
    )
    async def test_an_edit_of_a_row_whose_deletion_is_forgotten(
        self, hub: HubRig, days: float, outcome: list[tuple[int, str]]
    ) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        await a.push("recipe", delete("r", rev, 2))
        await sweep(hub, 31)
        made = (hub.clock.wall_ns() // 1_000_000 + int(days * DAY * 1000)) << 16
        reply = await b.push("recipe", put("r", {"n": 1}, rev, made))
        assert outcomes(reply) == outcome
        if outcome:
            assert judged_of(reply.judged)[0].row is not None
            assert judged_of(reply.judged)[0].row.deleted

    async def test_a_patch_across_the_horizon_is_answered_whole(self, hub: HubRig) -> None:
        a = RowNode(hub, "a")
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        await a.push("recipe", put("r", {"n": 1}, rev, 2))
        await sweep(hub, 31)
        assert outcomes(await a.push("recipe", patch("r", rev, b"[]", 3))) == [(0, "whole")]

    async def test_answers_are_forgotten_when_the_node_goes_on(self, hub: HubRig) -> None:
        a = RowNode(hub, "a")
        for n in range(4):
            await a.push("recipe", put(f"r{n}", {}))
        assert (await counts(hub))["shared_answer"] == 2  # the last, and the one before


class TestAHubThatWasPutBack:
    async def test_nodes_are_told_that_it_may_have_lost_rows(
        self, restorable: RestorableHub
    ) -> None:
        hub = restorable.rig
        a = RowNode(hub, "a")
        [rev] = (await a.push("recipe", put("kept", {"n": 0}))).revs
        a.take("recipe", (await RowNode(hub, "x").pull("recipe")).rows)
        await a.pull("recipe")
        await restorable.set_aside()
        await a.push("recipe", put("lost", {"n": 1}))
        await a.push("recipe", put("kept", {"n": 2}, rev, 2))
        [*_, now] = (await RowNode(hub, "x").pull("recipe")).rows
        a.take("recipe", (await RowNode(hub, "x").pull("recipe")).rows)
        await a.pull("recipe")
        hub = await restorable.put_back()
        again = RowNode(hub, "a", "55" * 16)
        again.cursors, again.rows = a.cursors, a.rows
        part = await again.pull("recipe")
        assert part.repair == "lost"
        assert part.digest != again.digest("recipe")
        reply = await again.push("recipe", put("lost", {"n": 1}, now.rev, 3))
        assert judged_of(reply.judged) == []
        assert reply.revs[0] > now.rev  # numbers of the lost history are not given again
        assert bytes((await hub.shared_rows.get("recipe", "lost")).body) == b'{"n":1}'

    async def test_the_first_who_notices_starts_a_new_epoch(self, hub: HubRig) -> None:
        """A database that was copied back by hand tells nobody."""
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        await a.push("recipe", put("r", {}))
        for node in (a, b):
            await node.pull("recipe")
        before = (await hub.store.read(changes.read_log)).epoch
        await hub.store.write(forget_commits)
        assert (await a.pull("recipe")).repair == "lost"
        assert (await b.pull("recipe")).repair == "lost"
        assert (await hub.store.read(changes.read_log)).epoch == before + 1
        for node in (a, b):
            assert (await node.pull("recipe")).repair == ""


def forget_commits(connection: Connection) -> None:
    connection.execute(shared_commit.update().values(tag="of another history"))
