"""The hub's power fails while nodes enrol and push, people apply and blobs come: what was acknowledged is there, once.

Its SQLite is opened through SQLAlchemy by apsw, on the same volume as the blobs. A seed repeats a whole chain of cuts.
"""

import contextlib
import hashlib
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.hub_rig import HubRig, spec, status
from tests.power_moments import cut_at_the_start, cut_later
from tests.pushes import Pushes

from skerry.hub.store.blobs import BlobDirectory
from skerry.testing.apsw_driver import ApswDriver
from skerry.testing.manual_clock import ManualClock
from skerry.testing.power_cut import Volume
from skerry.testing.power_cut_disk import PowerCutDisk
from skerry.testing.power_cut_vfs import power_cut_vfs
from skerry.testing.running_hub import EnrolledNode
from skerry.wire.sync import Lane, PushUnit

LANES: tuple[Lane, ...] = ("event", "keep", "sample")
T0 = 1_760_000_000_000_000_000


class Memory:
    """What nodes and people were told, across all lives of one hub."""

    def __init__(self) -> None:
        self.nodes: list[tuple[EnrolledNode, Pushes]] = []
        self.on_the_way: tuple[str, PushUnit, set[str]] | None = None
        self.values: set[str] = set()
        self.offered: set[str] = set()
        self.workloads: dict[str, int] = {}
        self.wished: tuple[str, int] | None = None
        self.blobs: dict[str, int] = {}
        self.number = 0


class Life:
    """One start, up to the cut."""

    def __init__(
        self,
        hub: HubRig,
        blobs: BlobDirectory,
        volume: Volume,
        memory: Memory,
        chance: random.Random,
    ) -> None:
        self._hub = hub
        self._blobs = blobs
        self._volume = volume
        self._memory = memory
        self._chance = chance

    async def examine(self) -> None:
        memory = self._memory
        rows = (await self._hub.query.records(limit=100_000)).rows
        found = [str(row.value) for row in rows]
        assert len(set(found)) == len(found)
        assert memory.values <= set(found) <= memory.offered
        on_the_way = memory.on_the_way[2] if memory.on_the_way else set()
        assert set(found) - memory.values in (set(), on_the_way), "a unit is there in part"
        names = {node.name for node in await self._hub.nodes.list()}
        assert names >= {node.name for node, _ in memory.nodes}
        held = {view.name: len(view.spec.env) for view in await self._hub.workloads.list()}
        for name, env in memory.workloads.items():
            assert held[name] == env or (name, held[name]) == memory.wished
        if self._answered:  # what was wished at the cut has become what is there
            memory.workloads |= held
            memory.wished = None
        for sha, size in memory.blobs.items():
            assert await self._blobs.size(sha) == size
            data = b"".join([part async for part in self._blobs.read(sha, 0, size)])
            assert hashlib.sha256(data).hexdigest() == sha

    async def until_the_cut(self) -> None:
        steps: list[Callable[[], Awaitable[None]]] = [
            self._push, self._push, self._push, self._push, self._status, self._enrol, self._apply, self._blob,
        ]  # fmt: skip
        await self._finish_push()
        while self._volume.cut is None:
            await self._chance.choice(steps)()

    @property
    def _answered(self) -> bool:
        return self._volume.cut is None

    async def _enrol(self) -> None:
        if len(self._memory.nodes) < 4:
            self._memory.number += 1
            node = await self._hub.enrol(f"n{self._memory.number}")
            if self._answered:
                self._memory.nodes.append((node, Pushes()))

    async def _push(self) -> None:
        memory, chance = self._memory, self._chance
        if not memory.nodes:
            await self._enrol()
            return
        node, pushes = chance.choice(memory.nodes)
        values = [f"v{memory.number + n}" for n in range(chance.choice((1, 3, 100)))]
        memory.number += len(values)
        unit = pushes.records(
            chance.choice(LANES),
            [(f"name.{n % 7}", T0 + n, value) for n, value in enumerate(values)],
        )
        memory.offered |= set(values)
        memory.on_the_way = (node.node_id, unit, set(values))
        await self._finish_push()

    async def _status(self) -> None:
        """A node's own state, in its lane."""
        memory = self._memory
        if memory.nodes:
            node, pushes = self._chance.choice(memory.nodes)
            memory.number += 1
            unit = pushes.state(status("w", hlc=memory.number))
            memory.on_the_way = (node.node_id, unit, set())
            await self._finish_push()

    async def _finish_push(self) -> None:
        """Sends what is on its way, as a node does until it is acknowledged."""
        memory = self._memory
        if memory.on_the_way is None:
            return
        node_id, unit, values = memory.on_the_way
        reply = await self._hub.push(node_id, unit)
        assert reply.outcome == "ok"
        if self._answered:
            memory.values |= values
            memory.on_the_way = None

    async def _apply(self) -> None:
        memory, chance = self._memory, self._chance
        name, size = f"w{chance.randint(0, 3)}", chance.randint(0, 40)
        memory.wished = (name, size)
        await self._hub.apply(spec(name, env={f"E{n}": "x" for n in range(size)}))
        if self._answered:
            memory.workloads[name], memory.wished = size, None

    async def _blob(self) -> None:
        data = self._chance.randbytes(self._chance.choice((1, 600, 5000)))
        sha, half = hashlib.sha256(data).hexdigest(), len(data) // 2
        await self._blobs.add(sha, 0, len(data), data[:half])
        state = await self._blobs.add(sha, half, len(data), data[half:])
        assert state.complete
        if self._answered:
            self._memory.blobs[sha] = len(data)


@contextlib.asynccontextmanager
async def powered(volume: Volume) -> AsyncIterator[tuple[HubRig, BlobDirectory]]:
    disk = PowerCutDisk(volume)
    with power_cut_vfs(volume) as vfs:
        disk.make_directory("test", volume.root / "hub")
        url = f"sqlite:///{volume.root / 'hub/hub.db'}"
        hub = HubRig(url, ManualClock(), driver=ApswDriver(vfs))
        try:
            await hub.start()
            yield hub, BlobDirectory(volume.root / "hub/blobs", disk)
        finally:
            hub.stop()


async def live_through(directory: Path, seed: int, cuts: int) -> int:
    """One hub through so many power cuts; returns how many records it acknowledged."""
    chance, memory = random.Random(seed), Memory()
    place = directory / "0"
    place.mkdir()
    for number in range(1, cuts + 1):
        volume = Volume(place, chance)
        cut_at_the_start(volume, chance)
        try:
            async with powered(volume) as (hub, blobs):
                life = Life(hub, blobs, volume, memory, chance)
                await life.examine()
                cut_later(volume, chance)
                await life.until_the_cut()
            assert [path for path in volume.untold() if not path.endswith("-shm")] == []
        except Exception as error:
            raise AssertionError(f"seed {seed}: start {number}") from error
        assert volume.cut is not None
        shutil.rmtree(place)
        place = directory / str(number)
        volume.cut.restore(place)
    last = Volume(place, chance)
    async with powered(last) as (hub, blobs):
        await Life(hub, blobs, last, memory, chance).examine()
    return len(memory.values)


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
async def test_twenty_power_cuts_of_the_hub(memory_dir: Path, seed: int) -> None:
    assert await live_through(memory_dir, seed, 10) > 0


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1000, 1050))
async def test_thousand_power_cuts_of_the_hub(memory_dir: Path, seed: int) -> None:
    await live_through(memory_dir, seed, 20)
