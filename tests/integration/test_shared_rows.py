"""Shared rows between two nodes and a hub, on real files and sockets: whatever happens on the way, all end equal."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.shared_rig import NAME, Fleet, fleet

from skerry.testing.waiting import eventually
from skerry.wire.shared import Declaration, Strategy

STRATEGIES: list[Strategy] = ["last_modified", "central_wins", "edge_wins", "merge", "manual"]


@pytest.fixture
async def site(memory_dir: Path) -> AsyncIterator[Fleet]:
    async with fleet(memory_dir) as found:
        yield found


async def test_a_row_goes_to_the_other_node_and_back(site: Fleet) -> None:
    one, two = await site.node("one"), await site.node("two")
    await site.share(Declaration(priority="high"), one, two)
    await one.rows.put(NAME, "a", b'{"x":1}')
    await eventually(lambda: two.dump(), "two has it")
    await two.rows.put(NAME, "a", b'{"x":2}')
    await site.equal(one, two)
    assert await one.dump() == {"a": b'{"x":2}'}
