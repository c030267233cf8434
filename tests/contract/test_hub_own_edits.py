"""What the hub edits itself: later than all that it knew, and told to the readers of what changed, after the commit."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import pytest
from tests.hub_rig import HubRig
from tests.shared_rows import RowNode, put

from skerry.hub.sync.model_rows import ModelRows
from skerry.hub.sync.own_edits import OwnEdits
from skerry.hub.sync.shared_rows import SharedRows
from skerry.kit.errors import NotFound
from skerry.wire.entities import Change, Changes
from skerry.wire.rows import RowPut

BODY = msgspec.Raw(b'{"n":1}')


async def test_readers_hear_of_what_changed_and_of_nothing_else(hub: HubRig) -> None:
    told: list[Collection[str]] = []
    own_edits = OwnEdits(hub.store, hub.clock, told.append)
    people, programs = SharedRows(hub.store, own_edits), ModelRows(hub.store, own_edits)
    await people.put("recipe", "a", RowPut(BODY))
    await programs.change("recipe", Changes([Change("create", "b", BODY)]))
    assert told == [{"recipe"}, {"recipe"}]
    await programs.change("recipe", Changes([Change("put", "b", BODY)]))
    with pytest.raises(NotFound):
        await people.delete("recipe", "c")
    assert len(told) == 2


async def test_an_edit_is_later_than_what_it_was_made_on(hub: HubRig) -> None:
    node = RowNode(hub)
    ahead = (hub.clock.wall_ns() // 1_000_000 + 30_000) << 16
    await node.push("recipe", put("a", {"n": 0}, hlc=ahead))
    await hub.shared_rows.put("recipe", "a", RowPut(BODY))
    [row] = (await node.pull_all("recipe")).rows
    assert row.hlc > ahead
