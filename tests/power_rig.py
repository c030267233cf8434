"""A node's whole store that loses its power again and again: what it does in each life.

One life is one start on what the cut before it has left. Steps are made one after the other, so that a seed repeats
all of it. What must be there afterwards is in `power_memory`.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
from tests.power_memory import IDENTITY, LANES, SECRET, Batch, Memory, examine, of_batch, state_of
from tests.power_moments import cut_at_the_start, cut_later
from tests.power_node import Powered, powered
from tests.record_rig import held, submission
from tests.workload_cases import live, wish

from skerry.node.identity import write_identity
from skerry.node.store.instances import Transition
from skerry.node.store.record_jobs import Submission
from skerry.testing.power_cut import PowerCut, Volume
from skerry.testing.power_cut_disk import PowerCutDisk
from skerry.wire.sync import Lane

_PAST_THE_DISK = ("node.lock", "node.db-shm")
"""What needs not survive: who holds the directory now, and SQLite's index of its log."""


class Script:
    """What a node does in one life, step by step, and `memory` of what was answered."""

    def __init__(self, node: Powered, memory: Memory, chance: random.Random) -> None:
        self._node = node
        self._memory = memory
        self._chance = chance
        self._steps: list[Callable[[], Awaitable[None]]] = [
            self._publish, self._publish, self._publish, self._publish, self._edit, self._edit, self._edit_softly,
            self._remove, self._freeze, self._start_workload, self._forget_workload, self._set_fact, self._put_file,
            self._free, self._free, self._enrol,
        ]  # fmt: skip
        if node.rotation is not None:
            self._steps += [self._rotate] * 5

    async def until_the_cut(self) -> None:
        """Goes on until the power is gone."""
        await self._finish_publishing()
        while self._node.volume.cut is None:
            await self._chance.choice(self._steps)()

    @property
    def _answered(self) -> bool:
        """Whether somebody has heard the answer: the power was still there after it."""
        return self._node.volume.cut is None

    async def _publish(self) -> None:
        memory, chance = self._memory, self._chance
        parts: dict[Lane, list[str]] = {}
        number = memory.counter
        for lane in chance.sample(LANES, chance.choice((1, 1, 2))):
            count, size = chance.choice(((1, 0), (2, 200), (5, 20), (40, 20), (5, 90_000)))
            parts[lane] = [f"value {number + n} " + "x" * size for n in range(count)]
            number += count
        memory.on_the_way = Batch(memory.counter, parts)
        await self._finish_publishing()

    async def _finish_publishing(self) -> None:
        """Sends what is on its way, as the SDK does after the node's restart."""
        memory = self._memory
        if (batch := memory.on_the_way) is None:
            return
        before = {lane: len(memory.values[lane]) for lane in batch.parts}
        await self._node.records.append(_submission(batch))
        if self._answered:
            for lane, values in batch.parts.items():
                assert len(memory.values[lane]) == before[lane]
                there = of_batch(held(self._node.records, lane), batch)
                assert there == values, f"batch {batch.first} of lane {lane}: {there}"
                memory.values[lane] += values
            memory.counter = batch.first + batch.count
            memory.on_the_way = None

    async def _changed(self, *, durable: bool = True) -> None:
        """One more state of the database, that was answered or not."""
        memory = self._memory
        memory.states.append(await state_of(self._node))
        if durable and self._answered:
            memory.durable = len(memory.states) - 1

    async def _edit(self) -> None:
        await self._put(durable=True)

    async def _edit_softly(self) -> None:
        await self._put(durable=False)

    async def _put(self, *, durable: bool) -> None:
        chance = self._chance
        body = f'{{"v":{chance.randint(0, 10**9)},"text":"{"y" * chance.choice((1, 100, 9000))}"}}'
        name = f"t{chance.randint(0, 9)}"
        await self._node.store.state.put("twin", name, body.encode(), durable=durable)
        await self._changed(durable=durable)

    async def _remove(self) -> None:
        await self._node.store.state.remove("twin", f"t{self._chance.randint(0, 9)}")
        await self._changed()

    async def _freeze(self) -> None:
        await self._node.store.state.freeze(5)
        await self._changed()

    async def _start_workload(self) -> None:
        chance = self._chance
        name = f"w{chance.randint(0, 4)}"
        assignment = wish(name, n=chance.randint(1, 10**6), env={"TOKEN": "z" * 50})
        row = live(assignment, instance=f"i-{name}")
        await self._node.instances.save([Transition(row)], label="test")
        await self._changed()

    async def _forget_workload(self) -> None:
        await self._node.instances.remove(f"w{self._chance.randint(0, 4)}", label="test")
        await self._changed()

    async def _set_fact(self) -> None:
        await self._node.store.state.set_fact("test", str(self._chance.randint(0, 10**9)))
        await self._changed()

    async def _put_file(self) -> None:
        data = self._chance.randbytes(self._chance.choice((0, 1, 700, 5000)))
        sha = hashlib.sha256(data).hexdigest()

        async def body() -> AsyncIterator[bytes]:
            yield data

        self._memory.files_offered[sha] = data
        await self._node.files.put(len(data), sha, body())
        if self._answered:
            self._memory.files[sha] = data
        await self._changed()

    async def _free(self) -> None:
        lane = self._chance.choice(LANES)
        records = self._node.records
        through = self._chance.randint(0, records.head(lane).n)
        records.acknowledge(lane, max(through, records.acknowledged(lane)))
        await records.free(lane, through)
        self._memory.freed[lane] = max(self._memory.freed[lane], records.base(lane).n)

    async def _enrol(self) -> None:
        if not self._memory.enrolled:
            disk = PowerCutDisk(self._node.volume)
            write_identity(self._node.volume.root / "data", IDENTITY, SECRET, disk)
            self._memory.enrolled = self._answered

    async def _rotate(self) -> None:
        """One step of a rotation: up to its next breath."""
        node = self._node
        assert node.rotation is not None
        if node.rotating is None or node.rotating.done():
            if node.rotating is not None:
                await node.rotating
            node.rotation.ask()
            node.rotating = asyncio.create_task(node.rotation.once())
        await node.clock.run(node.rotating)


def _submission(batch: Batch) -> Submission:
    first, *others = (
        submission(batch.first, *values, lane=lane) for lane, values in batch.parts.items()
    )
    offset = first.count
    parts = list(first.parts)
    for other in others:
        [(lane, records)] = other.parts
        moved = [msgspec.structs.replace(each, offset=each.offset + offset) for each in records]
        parts.append((lane, moved))
        offset += other.count
    return msgspec.structs.replace(first, parts=parts)


async def live_through(directory: Path, seed: int, cuts: int, *, sealed: bool) -> list[PowerCut]:
    """One node through so many power cuts. Raises AssertionError that names seed and cut."""
    chance = random.Random(seed)
    memory = Memory()
    found: list[PowerCut] = []
    place = directory / "0"
    place.mkdir()
    for number in range(1, cuts + 1):
        volume = Volume(place, chance)
        cut_at_the_start(volume, chance)
        try:
            async with powered(volume, f"boot-{number}", sealed=sealed) as node:
                await examine(node, memory)
                cut_later(volume, chance)
                await Script(node, memory, chance).until_the_cut()
            assert [p for p in volume.untold() if Path(p).name not in _PAST_THE_DISK] == []
        except Exception as error:
            last = f"{found[-1].label}, {found[-1].fate}" if found else "none"
            raise AssertionError(
                f"seed {seed}, {'sealed' if sealed else 'plain'}: start {number}, after the cut: {last}"
            ) from error
        assert volume.cut is not None
        found.append(volume.cut)
        shutil.rmtree(place)
        place = directory / str(number)
        volume.cut.restore(place)
    await _last_look(Volume(place, chance), memory, sealed=sealed)
    return found


async def _last_look(volume: Volume, memory: Memory, *, sealed: bool) -> None:
    async with powered(volume, "boot-last", sealed=sealed) as node:
        await examine(node, memory)
        if node.rotation is not None:
            rotating = asyncio.create_task(node.rotation.once())
            while not rotating.done():
                await node.clock.run(rotating)
            await rotating
            assert not any(key.retired for key in node.rotation.status().keys)
            await examine(node, memory)
