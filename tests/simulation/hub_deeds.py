"""What people do at the hub: edits of shared rows there, and decisions about what waits for them."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from tests.simulation.deeds import SHARED_ROWS
from tests.simulation.oracle import Edit, Oracle
from tests.simulation.sim_hub import HubLife

from skerry.kit.errors import SkerryError
from skerry.wire.rows import Resolve, RowPut


class HubDeeds:
    """Each is told to the oracle as it was answered."""

    def __init__(
        self, oracle: Oracle, chance: random.Random, seen: Counter[str], entities: Sequence[str]
    ) -> None:
        self._oracle = oracle
        self._chance = chance
        self._seen = seen
        self._entities = [name for name in entities if name != "merged"]
        self._number = 0
        self._kinds: list[Callable[[HubLife], Awaitable[None]]] = [
            self._put, self._put, self._put, self._delete, self._resolve, self._resolve,
        ]  # fmt: skip

    async def one(self, life: HubLife) -> None:
        """Something, at a hub that is up."""
        kind = self._chance.choice(self._kinds)
        try:
            await kind(life)
        except SkerryError as error:
            self._seen[f"people: {type(error).__name__}"] += 1
        else:
            self._seen[f"people: {kind.__name__[1:]}"] += 1

    async def _put(self, life: HubLife) -> None:
        place = (self._chance.choice(self._entities), self._chance.choice(SHARED_ROWS))
        self._number += 1
        now = asyncio.get_running_loop().time()
        token = f"h{self._number}."
        edit = self._oracle.edits[token] = Edit("hub", place, token, at=now)
        body = msgspec.Raw(json.dumps({"t": token, "pad": ""}).encode())
        await life.shared_rows.put(*place, RowPut(body))
        edit.accepted = not life.is_dead

    async def _delete(self, life: HubLife) -> None:
        place = (self._chance.choice(self._entities), self._chance.choice(SHARED_ROWS))
        self._oracle.deleted.add(place)
        await life.shared_rows.delete(*place)

    async def _resolve(self, life: HubLife) -> None:
        """Decides about what has waited longest."""
        waiting = await life.shared_rows.conflicts()
        if waiting:
            take, first = self._chance.choice(("hub", "node")), waiting[0]
            name = first.node if take == "node" else ""
            await life.shared_rows.resolve(first.entity, first.id, Resolve(take, name))
            self._seen["conflict: resolved"] += 1
