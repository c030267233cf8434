"""A machine that is started, dies and is started again: what hub and nodes of a simulation have in common."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path
from typing import Generic, Literal, TypeVar

from tests.simulation.sim_clock import SimClock
from tests.simulation.storage import Storage

from skerry.kit.errors import SkerryError

Cause = Literal["power", "kill", "stop"]


class Life:
    """One start of a machine's process. What it says or answers after it `is_dead`, nobody hears."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.is_dead = False
        self.stack = contextlib.AsyncExitStack()
        self.ending: asyncio.Future[Cause] = asyncio.get_running_loop().create_future()
        self.left: Path | None = None

    async def open(self) -> None:
        """Opens everything; what is to be closed goes on the stack."""
        raise NotImplementedError

    async def end(self) -> None:
        """Ends what runs, before the stack is closed."""
        raise NotImplementedError

    def power_failed(self) -> None:
        """The volume has lost its power."""
        self._end("power")

    def kill(self) -> None:
        """The process dies; what it has written stays."""
        if not self.is_dead:
            self.left = self.storage.copy("killed")
            self._end("kill")

    def stop(self) -> None:
        """The process is asked to end, and takes its time."""
        if not self.ending.done():
            self.ending.set_result("stop")

    def _end(self, cause: Cause) -> None:
        self.is_dead = True
        if not self.ending.done():
            self.ending.set_result(cause)


L = TypeVar("L", bound=Life)


class Machine(Generic[L]):
    """Lives one after the other. `run` is its whole existence; `next_copy` is put back before the next life."""

    def __init__(
        self, name: str, storage: Storage, chance: random.Random, seen: Counter[str]
    ) -> None:
        self.seen = seen
        self.name = name
        self.storage = storage
        self.clock = SimClock(name)
        self.life: L | None = None
        self.next_copy: Path | None = None
        self.downtime = 3.0
        self.is_full = False
        self._chance = chance

    @property
    def is_up(self) -> bool:
        """Whether its process runs and answers."""
        return self.life is not None and not self.life.is_dead and not self.life.ending.done()

    def fill(self, *, full: bool) -> None:
        """The disk is full from now on, or has room again."""
        self.is_full = self.storage.volume.full = full

    def new_life(self) -> L:
        raise NotImplementedError

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.live()
            await asyncio.sleep(self._chance.uniform(0.0, self.downtime))

    async def live(self) -> None:
        """One life, from its start to its end."""
        life = self.new_life()
        cause: Cause = "stop"
        was_full = False
        try:
            try:
                await life.open()
                self.life = life
                cause = await life.ending
            finally:
                self.life = None
                was_full = self.storage.volume.full
                # apsw would raise what closing a real file keeps to itself.
                self.storage.volume.full = False
                await life.end()
                await life.stack.aclose()
        except (SkerryError, OSError):
            if not was_full and not life.is_dead:
                raise
        if life.is_dead and self.storage.volume.cut is not None and life.left is None:
            cause = "power"
        self._turn_over(life, cause)

    def _turn_over(self, life: L, cause: Cause) -> None:
        if self.storage.volume.cut is not None and cause == "power":
            self.seen[f"cut: {self.storage.volume.cut.fate}"] += 1
        if self.next_copy is not None:
            self.storage.put_back(self.next_copy)
            self.next_copy = None
        elif cause == "power":
            self.storage.put_back(None)
            self.clock.reboot()
        elif cause == "kill":
            self.storage.put_back(life.left)
