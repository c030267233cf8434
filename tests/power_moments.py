"""When the power fails in one life of a node or a hub, and a clock that lets a test choose the moment."""

from __future__ import annotations

import asyncio
import random

from skerry.testing.manual_clock import ManualClock
from skerry.testing.power_cut import Volume


class BreathClock(ManualClock):
    """Lets go of who sleeps one by one, and says when somebody has fallen asleep."""

    def __init__(self, boot_id: str) -> None:
        super().__init__(boot_id=boot_id)
        self._asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self._asleep.set()
        await super().sleep(seconds)

    async def run(self, task: asyncio.Task[None]) -> None:
        """Lets `task` go on until it sleeps again or ends."""
        self._asleep.clear()
        self.advance(1.0)
        breath = asyncio.create_task(self._asleep.wait())
        await asyncio.wait([task, breath], return_when=asyncio.FIRST_COMPLETED)
        breath.cancel()


def cut_at_the_start(volume: Volume, chance: random.Random) -> None:
    """One of four cuts is meant for the start itself, which on an empty disk is long."""
    if chance.random() < 0.25:
        volume.cut_after(chance.randint(1, chance.choice((20, 60, 2000))))


def cut_later(volume: Volume, chance: random.Random) -> None:
    """The others, from the step at hand to some dozens of steps later."""
    if volume.cut is None:
        volume.cut_after(chance.randint(1, chance.choice((10, 60, 200, 600))))
