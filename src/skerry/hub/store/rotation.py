"""Rotation of the store's data keys while the hub works: a new key at once, then every row follows in small steps.

From the moment that a new key is written no transaction seals with the old one (`keys.StoreKeys.fence`). So one walk
through all rows finds what is left, a search proves that there is no more, and then the old key is destroyed. Killed
anywhere, the next pass of this or another hub process finds what is left. Switching encryption on is the same pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from skerry.hub.ports import Blobs, SealedBlobs
from skerry.hub.store import resealing
from skerry.hub.store.bodies import SMALL, TEXT, Body
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.keys import StoreKeys
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import Corrupt, Refused, Transient
from skerry.kit.sealing.keys import sealed_throughout, without
from skerry.kit.tasks import Guard, Tasks
from skerry.wire.local import KeyStatus

log = logging.getLogger(__name__)

LOOK_EVERY = 10.0
"""Seconds between two looks at the keys."""

LEASE = 3 * LOOK_EVERY

AT_ONCE = 200
"""Rows in one job of the writer: others wait for as long."""

_BATCHES = 100
_FOUND_AT_ONCE = 10_000
_BREATH = 0.01
"""Seconds that are left to others after each step."""


class Rotation:
    """Keeps the promises about a store's keys; where encryption is off, it says that it is.

    `blobs` are sealed when encryption is switched on, and need no rotation: their keys are rows. Once in each process
    they are looked through all the same: they may have been put there from elsewhere.
    `may` says whether it is this process that seals rows again now. It saves work and decides nothing.
    """

    def __init__(
        self,
        store: HubStore,
        clock: Clock,
        may: Callable[[], Awaitable[bool]],
        blobs: Sequence[Blobs] = (),
    ) -> None:
        self._store = store
        self._blobs = [each for each in blobs if isinstance(each, SealedBlobs)]
        self._blobs_seen = False
        self._clock = clock
        self._may = may
        self._asked = Bell()

    def status(self) -> KeyStatus:
        """For people."""
        keys = self._store.keys
        return KeyStatus(enabled=False) if keys is None else keys.status()

    async def rotate(self) -> KeyStatus:
        """A new key; what is sealed with the old one follows. Raises Refused where encryption is off, Transient."""
        keys = self._store.keys
        if keys is None:
            raise Refused(
                "cannot rotate keys: encryption is off on this hub. Set encryption.storage.enabled."
            )
        await asyncio.to_thread(keys.rotate, forced=True)
        self._asked.ring()
        return keys.status()

    def follow(self, tasks: Tasks, chance: random.Random) -> None:
        """Rotates for as long as the tasks run."""
        if self._store.keys is not None:
            tasks.forever(self._run(Guard("rotating keys", self._clock, chance)), name="keys")

    async def _run(self, guard: Guard) -> None:
        while True:
            seen = self._asked.count
            if await guard.run(self.once):
                await self._asked.within(seen, LOOK_EVERY, self._clock)

    async def once(self) -> None:
        """Does what is due. Raises Corrupt for rows that do not open, Transient; then do it again."""
        keys = self._store.keys
        if keys is None:
            return
        await self._store.read(keys.refresh)
        await asyncio.to_thread(keys.top_up)
        if not await self._may():
            return
        if await asyncio.to_thread(keys.rotate, forced=False):
            log.info("a new key; what is sealed with the older one follows")
        retired, plain = keys.keys.retired, keys.keys.plain
        if retired or plain:
            await self._seal_everything(keys)
        if retired:
            await asyncio.to_thread(keys.change, partial(without, ids=retired))
            log.info("%d retired keys are destroyed", len(retired))
        if (plain or not self._blobs_seen) and not await self._seal_blobs(keys):
            return
        if plain:
            await self._store.compact()
            await asyncio.to_thread(keys.change, sealed_throughout)
            log.info("everything in the store is sealed now")

    async def _seal_blobs(self, keys: StoreKeys) -> bool:
        """Seals what is plain. False: it took long, and another process goes on."""
        sealed = 0
        for each in self._blobs:
            async with contextlib.aclosing(each.seal_plain()) as names:
                async for _ in names:
                    sealed += 1
                    await asyncio.to_thread(keys.top_up)
                    if not await self._may():
                        return False
        if sealed:
            log.info("%d blobs that were plain are sealed now", sealed)
        self._blobs_seen = True
        return True

    async def _seal_everything(self, keys: StoreKeys) -> None:
        head = keys.head
        last = await self._store.write(resealing.newest_batch)  # whatever it waited for is seen
        for body in SMALL:
            await self._seal(body, head, None)
        first = await self._next_batch(0)
        while first is not None and first <= last:
            await self._seal(TEXT, head, (first, first + _BATCHES - 1))
            first = await self._next_batch(first + _BATCHES)
        await self._seal(TEXT, head, None)  # on PostgreSQL a batch may go before its last record
        left = await self._store.read(partial(resealing.count_stale, head=head))
        if left and head == keys.head:
            raise Corrupt(f"cannot seal {left} rows again")
        if left:
            raise Transient("cannot end the rotation: the key has been changed meanwhile")

    async def _next_batch(self, first: int) -> int | None:
        return await self._store.read(partial(resealing.next_batch, first=first))

    async def _seal(self, body: Body, head: bytes, batches: tuple[int, int] | None) -> None:
        search = partial(
            resealing.stale_rows, body=body, head=head, batches=batches, limit=_FOUND_AT_ONCE
        )
        while found := await self._store.read(search):
            for start in range(0, len(found), AT_ONCE):
                some = partial(resealing.reseal, body=body, rows=found[start : start + AT_ONCE])
                await self._store.write(some)
                await self._clock.sleep(_BREATH)
