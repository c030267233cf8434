"""A gate, and an agent beside it that stores what is captured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.gate_rig import PATIENCE, GateRig, held_by_nobody

from skerry.kit.clock import SystemClock
from skerry.node.broker.link import GateLink, Hold


class Store:
    """What an agent has stored: it outlives the links."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}
        self.payloads: list[bytes] = []

    def stored_of(self, session: str) -> int:
        return self.of.get(session, 0)


class Site:
    """A gate, and an agent that stores what it hears until it is stopped."""

    def __init__(self, rig: GateRig) -> None:
        self.rig = rig
        self.store = Store()
        self.hold: Hold = held_by_nobody
        self._tasks: list[asyncio.Task[None]] = []
        self.link = self._new()

    def _new(self) -> GateLink:
        return GateLink(
            self.rig.run, self.rig.journal, SystemClock(), self.store.stored_of, self.hold
        )

    def start_agent(self) -> None:
        self.link = self._new()
        self._tasks = [asyncio.create_task(self.link.keep()), asyncio.create_task(self._store())]

    async def stop_agent(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self.link.close()

    async def _store(self) -> None:
        async for batch in self.link.captured():
            assert batch.entries[0].n == self.store.stored_of(batch.session) + 1
            self.store.payloads += [entry.payload for entry in batch.entries]
            self.store.of[batch.session] = batch.entries[-1].n
            self.link.stored(batch)
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)
