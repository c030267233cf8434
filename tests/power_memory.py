"""What everybody was told by a node that loses its power again and again, and whether its store still says so.

What was answered before a cut must be there afterwards; what was under way may be there, whole and once.
"""

from __future__ import annotations

import msgspec
from tests.power_node import Powered
from tests.record_rig import held, session

from skerry.node.identity import Identity, read_secret
from skerry.wire.sync import RECORD_LANES, Lane

SECRET = "a secret of the node"
IDENTITY = Identity("n1", "n1", {}, "http://hub", "h1")
LANES: tuple[Lane, ...] = RECORD_LANES


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
        self.values: dict[Lane, list[str]] = {lane: [] for lane in LANES}
        self.freed: dict[Lane, int] = dict.fromkeys(LANES, 0)
        self.on_the_way: Batch | None = None
        self.states: list[dict[str, object]] = []
        self.durable = 0
        self.files: dict[str, bytes] = {}
        self.files_offered: dict[str, bytes] = {}
        self.enrolled = False


def of_batch(found: list[tuple[str, int, object]], batch: Batch) -> list[object]:
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
    for lane in LANES:
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
