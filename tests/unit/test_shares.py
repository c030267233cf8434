"""The gate is told whom to hold and when no more, also where it could not be told at first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import pytest

from skerry.kit.errors import Transient
from skerry.node.broker.shares import Room, Shares
from skerry.node.twin_ports import NotSaid
from skerry.testing.manual_clock import ManualClock
from skerry.wire.sync import Lane

LEFT, HELD = 1000, frozenset({"arm"})


class Site:
    """A node that keeps little, and a gate that cannot always be told."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.acknowledged = 0
        self.fault: Transient | None = None
        self.held: list[frozenset[str]] = []
        self.told: list[str] = []
        room = Room(lambda: LEFT, lambda: LEFT, lambda _: 1, self._acknowledged, self._tell)
        self.shares = Shares(room, self.clock)

    def _acknowledged(self, _: Lane) -> int:
        return self.acknowledged

    async def _tell(self, source: str, _: str) -> None:
        self.told.append(source)

    async def hold(self, workloads: Collection[str]) -> None:
        if self.fault:
            raise self.fault
        self.held.append(frozenset(workloads))

    async def follows(self, until: Callable[[], object]) -> None:
        """Until then, and is cut off; or as long as the gate can be told."""
        task = asyncio.create_task(self.shares.follow(self))
        try:
            async with asyncio.timeout(30):
                while not (task.done() or until()):
                    await asyncio.sleep(0)
                    self.clock.advance(1)
        finally:
            task.cancel()
        await asyncio.gather(task)

    async def fails(self) -> None:
        with pytest.raises(NotSaid):
            await self.follows(lambda: False)


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize("files", [False, True])
async def test_who_was_held_is_let_go_also_by_a_gate_that_could_not_be_told_at_first(
    *, files: bool
) -> None:
    site = Site()
    if files:
        site.shares.stored_file("arm", 3 * LEFT)
    else:
        site.shares.stored("arm", "event", 3 * LEFT)
    with pytest.raises(asyncio.CancelledError):
        await site.follows(lambda: site.told)
    assert (site.held, site.told) == ([HELD], ["arm"])
    assert site.shares.has_files_full("arm") == files
    assert site.shares.has_records_full("arm") != files
    site.acknowledged, site.fault = 1, NotSaid("the gate does not read")
    for _ in range(2):
        await site.fails()
    site.fault = None
    with pytest.raises(asyncio.CancelledError):
        await site.follows(lambda: len(site.held) == 2)
    assert (site.held[-1], site.told) == (frozenset(), ["arm"])


async def test_who_is_held_is_told_also_where_the_gate_could_not_be_at_first() -> None:
    site = Site()
    site.fault = NotSaid("the gate does not read")
    site.shares.stored("arm", "event", 3 * LEFT)
    for _ in range(2):
        await site.fails()
    site.fault = None
    with pytest.raises(asyncio.CancelledError):
        await site.follows(lambda: site.told)
    assert (site.held, site.told) == ([HELD], ["arm"])
