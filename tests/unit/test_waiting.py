"""Loops that never end, and what wakes them."""

from __future__ import annotations

import asyncio
import random

from skerry.kit.bell import Bell, Rings
from skerry.kit.errors import Transient
from skerry.kit.tasks import Loops, supervised
from skerry.testing.manual_clock import ManualClock


async def test_no_ring_during_a_look_is_missed() -> None:
    one, other, clock = Bell(), Bell(), ManualClock()
    rings = Rings([one, other])
    rings.note()
    other.ring()
    async with asyncio.timeout(30):
        await rings.next(clock)
    rings.note()
    waiting = asyncio.ensure_future(rings.next(clock, 5.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    while not waiting.done():
        clock.advance(5.0)
        await asyncio.sleep(0)


async def test_a_loop_that_fails_begins_anew() -> None:
    clock, lives, ended = ManualClock(), [0], asyncio.Event()

    async def work() -> None:
        lives[0] += 1
        if lives[0] == 1:
            raise Transient("the disk is full")
        ended.set()
        await asyncio.Event().wait()

    async with supervised() as tasks:
        Loops(tasks, clock, random.Random(3)).start(work, name="a loop")
        while not ended.is_set():
            clock.advance(0.2)
            await asyncio.sleep(0)
        tasks.cancel()
    assert lives == [2]
