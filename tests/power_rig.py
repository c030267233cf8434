"""A node's whole store that loses its power again and again: what it does in each life, and what must be there in the next.

One life is one start on what the cut before it has left. Steps are made one after the other, so that a seed repeats
all of it. What was answered before the cut must be there afterwards; what was under way may be there, whole and once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
from tests.file_rig import RoomLeft
from tests.power_moments import BreathClock, cut_at_the_start, cut_later
from tests.record_rig import held, session, submission
from tests.sealing_rig import wanted, where
from tests.workload_cases import live, wish

from skerry.kit.blob_bytes import PlainBytes
from skerry.kit.disk import Disk
from skerry.kit.sealing.cipher import Cipher
from skerry.node.files.room import named_in
from skerry.node.files.store import FileStore
from skerry.node.files.store import Lane as FileLane
from skerry.node.identity import Identity, read_secret, seal_secret, write_identity
from skerry.node.store.encryption import open_encryption
from skerry.node.store.files import FileRows
from skerry.node.store.instances import InstanceStore, Transition
from skerry.node.store.opening import OpenedStore, opened
from skerry.node.store.record_jobs import Limits, Submission
from skerry.node.store.records import RecordStore
from skerry.node.store.rotation import Beside, Rotation
from skerry.testing.apsw_driver import ApswDriver
from skerry.testing.power_cut import PowerCut, Volume
from skerry.testing.power_cut_disk import PowerCutDisk
from skerry.testing.power_cut_vfs import power_cut_vfs
from skerry.wire.records import Meta, Value
from skerry.wire.sync import RECORD_LANES, Lane

LIMITS = Limits(reserve=4096, segment=6_000)
SECRET = "a secret of the node"
IDENTITY = Identity("n1", "n1", {}, "http://hub", "h1")
_LANES: tuple[Lane, ...] = RECORD_LANES
_PAST_THE_DISK = ("node.lock", "node.db-shm")
"""What needs not survive: who holds the directory now, and SQLite's index of its log."""


class Batch(msgspec.Struct, frozen=True):
    """One submission: its first counter, and its values by lane."""

    first: int
    parts: dict[Lane, list[str]]

    @property
    def count(self) -> int:
        return sum(map(len, self.parts.values()))


class Memory:
    """What publishers, hub and people were told, across all lives of one node."""

    def __init__(self) -> None:
        self.counter = 1
        self.values: dict[Lane, list[str]] = {lane: [] for lane in _LANES}
        self.freed: dict[Lane, int] = dict.fromkeys(_LANES, 0)
        self.on_the_way: Batch | None = None
        self.states: list[dict[str, object]] = []
        self.durable = 0
        self.files: dict[str, bytes] = {}
        self.files_offered: dict[str, bytes] = {}
        self.enrolled = False


class Powered(msgspec.Struct):
    """One life: the store, opened on a volume."""

    volume: Volume
    clock: BreathClock
    store: OpenedStore
    records: RecordStore
    instances: InstanceStore
    files: FileStore
    rotation: Rotation | None
    rotating: asyncio.Task[None] | None = None


async def _tell_nobody(_name: str, _value: Value, _meta: Meta) -> None:
    """Events of the node's own are not looked at here."""


async def _no_blobs() -> int:
    """Files lie in plain here."""
    return 0


def _seal_secrets(store: OpenedStore, directory: Path, cipher: Cipher, *, disk: Disk) -> bool:
    sealed = seal_secret(directory, cipher, disk)
    return store.started.seal_again(cipher) or sealed


@contextlib.asynccontextmanager
async def powered(volume: Volume, boot: str, *, sealed: bool) -> AsyncIterator[Powered]:
    """A start as the agent makes it."""
    directory = volume.root / "data"
    disk, clock = PowerCutDisk(volume), BreathClock(boot)
    with power_cut_vfs(volume) as vfs:
        driver = ApswDriver(vfs)
        wish_ = wanted() if sealed else None
        keys = partial(open_encryption, wish_, where(directory), disk, clock, driver=driver)
        async with opened(directory, "n1", clock, disk, keys, driver=driver) as store:
            encryption = store.encryption
            records = RecordStore(
                directory / "records",
                disk=disk,
                clock=clock,
                cipher=encryption.cipher("records"),
                limits=LIMITS,
            )
            await records.start()
            lane = FileLane(lambda: records.head("event").n, lambda: 0, lambda: 0)
            files = FileStore(
                directory, 10**9, FileRows(store.writer, store.reader), PlainBytes(disk), disk, clock,
                lane=lane, room=RoomLeft(), tell=_tell_nobody,
            )  # fmt: skip
            beside = Beside(partial(_seal_secrets, store, directory, disk=disk), _no_blobs)
            ring = encryption.ring
            rotation = ring and Rotation(ring, store.writer, records, beside, disk, clock)
            instances = InstanceStore(store.writer, store.reader, store.cipher, store.started)
            try:
                await files.open(partial(named_in, records))
                node = Powered(volume, clock, store, records, instances, files, rotation)
                yield node
                if node.rotating is not None:
                    node.rotating.cancel()
                    await asyncio.wait([node.rotating])
            finally:
                await records.stop()


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
        for lane in chance.sample(_LANES, chance.choice((1, 1, 2))):
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
                there = _of_batch(held(self._node.records, lane), batch)
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
        lane = self._chance.choice(_LANES)
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


def _of_batch(found: list[tuple[str, int, object]], batch: Batch) -> list[object]:
    own = range(batch.first, batch.first + batch.count)
    return [value for who, counter, value in found if who == session(1) and counter in own]


async def state_of(node: Powered) -> dict[str, object]:
    """Everything that the database says, in plain."""
    state = node.store.state
    twins = {row.id: bytes(row.body) for row in await state.rows("twin")}
    workloads = {
        name: (row.assignment.generation.n, row.instance and row.instance.id)
        for name, row in node.instances.load().items()
    }
    frozen = {frame.n: (frame.chain, bytes(frame.body)) for frame in await state.frozen(0, 10_000)}
    files = {row.sha256: row.size for row in node.files.rows.unnamed(1 << 62)}
    return {
        "twins": twins,
        "workloads": workloads,
        "frozen": frozen,
        "fact": await state.fact("test"),
        "unsent": await state.unsent(),
        "files": files,
        "incarnation": state.incarnation,
    }


async def examine(node: Powered, memory: Memory) -> None:
    """Everything that was answered is there, nothing twice, nothing half; then the memory is what was found."""
    assert node.store.rebuilt is None
    assert node.records.counters.lost == 0
    assert node.records.damaged_files() == []
    _examine_records(node, memory)
    found = await state_of(node)
    if memory.states:
        assert found in memory.states[memory.durable :], (
            f"the database is in none of the {len(memory.states) - memory.durable} states since the last answer; "
            f"it is in one before: {found in memory.states}"
        )
    if node.volume.cut is None:  # else nobody was told of it
        memory.states, memory.durable = [found], 0
    _examine_files(node, memory)
    data_dir = node.volume.root / "data"
    if memory.enrolled:
        assert read_secret(data_dir, node.store.cipher) == SECRET
        assert (data_dir / "identity.json").exists()


def _examine_records(node: Powered, memory: Memory) -> None:
    batch = memory.on_the_way
    for lane in _LANES:
        found = held(node.records, lane)
        base = node.records.base(lane).n
        assert base <= memory.freed[lane]
        values = [value for _, _, value in found]
        expected = memory.values[lane][base:]
        more = batch.parts.get(lane, []) if batch else []
        assert values in (expected, expected + more), (
            f"lane {lane}: {len(values)} records from {base + 1} on, {len(expected)} were accepted"
        )
        counters = [(who, counter) for who, counter, _ in found]
        assert len(set(counters)) == len(counters)


def _examine_files(node: Powered, memory: Memory) -> None:
    rows = {row.sha256: row for row in node.files.rows.unnamed(1 << 62)}
    assert rows.keys() >= memory.files.keys()
    for sha, row in rows.items():
        data = memory.files_offered[sha]
        assert (row.size, row.problem) == (len(data), "")
        assert node.files.read(row, 0, row.size) == data
        if node.volume.cut is None:
            memory.files[sha] = data
    on_disk = {
        path.parent.name + path.name for path in (node.volume.root / "data/files").glob("??/*")
    }
    assert on_disk == rows.keys()


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
