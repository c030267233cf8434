"""Every disk operation of the record store fails once, or from then on; and the node is killed at each of them."""

import asyncio
import errno
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.record_rig import held, make_engine, make_store, submission

from skerry.kit.errors import SkerryError
from skerry.node.store.record_engine import RecordEngine
from skerry.node.store.record_jobs import Free, Job, Limits, Submission
from skerry.sdk.client import Client, Timing
from skerry.testing.faulty_disk import FaultyDisk
from skerry.wire.records import Published, Value
from skerry.wire.sync import Lane

ROOT = Path(__file__).parents[2]
TEXT = "x" * 400
LIMITS = Limits(keep=100_000, sample=4_000, segment=1_500, reserve=4096)


def everything() -> Iterator[Submission]:
    """Batches that touch all lanes, end files, and pass the limit of lane sample."""
    counter = 1
    for n in range(8):
        both = submission(counter, f"{n} keep {TEXT}", f"{n} sample {TEXT}")
        kept, sampled = both.parts[0][1]
        yield replace(both, parts=[("keep", [kept]), ("sample", [sampled])])
        counter += 2
        yield submission(counter, f"{n} event", lane="event")
        counter += 1


class Publisher:
    """Sends each batch again until it is accepted, across restarts, as the SDK does."""

    def __init__(self, directory: Path, disk: FaultyDisk) -> None:
        self._directory = directory
        self._disk = disk
        self._engine = self._opened()

    def _opened(self) -> RecordEngine:
        for _ in range(3):
            engine = make_engine(self._directory, disk=self._disk, limits=LIMITS)
            try:
                engine.open()
            except OSError:
                engine.close()
                self._disk.heal()
            else:
                return engine
        raise AssertionError("does not start with a good disk")

    def insist(self, job: Job) -> None:
        for attempt in range(6):
            if attempt == 3:
                self._disk.heal()
            if attempt == 4:
                self._engine.close()
                self._engine = self._opened()
            try:
                [result] = self._engine.commit([job])
            except OSError:
                continue
            if isinstance(result, Published | int):
                return
            assert isinstance(result, SkerryError)
        raise AssertionError(f"never accepted: {job}")

    def acknowledge(self, lane: Lane) -> int:
        through = self._engine.lanes[lane].view.head.n
        self._engine.acknowledged[lane] = through
        return through

    def close(self) -> None:
        self._engine.close()


async def assert_all_there_once(directory: Path) -> None:
    store = make_store(directory, limits=LIMITS)
    await store.start()
    batches = list(everything())
    keep = [value for _, _, value in held(store, "keep")]
    assert keep == [each.parts[0][1][0].value for each in batches if len(each.parts) == 2]
    events = [(name, value) for name, _, value in held(store, "event")]
    published = [value for _, value in events if isinstance(value, str)]
    assert published == [each.parts[0][1][0].value for each in batches if len(each.parts) == 1]
    samples = [value for _, _, value in held(store, "sample")]
    expected = [each.parts[1][1][0].value for each in batches if len(each.parts) == 2]
    thinned = sum(value for _, value in events if isinstance(value, int))
    assert samples == expected[store.base("sample").n :]
    assert store.base("sample").n == thinned or thinned == store.base("sample").n + _next(store)
    assert (await store.append(batches[-1])).repeated == 1
    assert (await store.append(submission(1000, "next"))).repeated == 0
    await store.stop()


def _next(store: object) -> int:
    """A gap is durable before its file goes: the oldest file may be told already."""
    segment = store.segments("sample")[0]  # type: ignore[attr-defined]
    return int(segment.last - segment.first + 1)


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("persistent", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["io-error", "disk-full"])
async def test_the_nth_operation_fails(memory_dir: Path, code: int, *, persistent: bool) -> None:
    for fail_at in count(1):
        directory = memory_dir / str(fail_at)
        disk = FaultyDisk(fail_at, persistent=persistent, code=code)
        publisher = Publisher(directory, disk)
        for batch in everything():
            publisher.insist(batch)
        publisher.close()
        await assert_all_there_once(directory)
        if disk.operations < fail_at:
            assert fail_at > 50
            return


async def test_the_nth_operation_fails_while_records_are_freed(memory_dir: Path) -> None:
    for fail_at in count(1):
        directory = memory_dir / str(fail_at)
        quiet = FaultyDisk()
        publisher = Publisher(directory, quiet)
        for batch in everything():
            publisher.insist(batch)
        publisher.close()
        disk = FaultyDisk(fail_at)
        publisher = Publisher(directory, disk)
        through = publisher.acknowledge("keep")
        publisher.insist(Free("keep", through))
        publisher.insist(submission(100, "after"))
        publisher.close()
        store = make_store(directory, limits=LIMITS)
        await store.start()
        assert [value for _, _, value in held(store, "keep")][-1] == "after"
        assert store.head("keep").n == through + 1
        assert (await store.append(submission(100, "after", "next"))).repeated == 1
        await store.stop()
        if disk.operations < fail_at:
            return


class Node:
    """A node in a process of its own, to be killed."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "w" / "sock"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *kill: str) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "tests/local_node.py", str(self._directory), str(self.socket), *kill],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n"
        return self._process

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()


@pytest.fixture
def node(short_dir: Path) -> Iterator[Node]:
    node = Node(short_dir)
    yield node
    node.end()


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize(
    ("label", "nth"),
    [
        ("publish.synced", "1"), ("publish.synced", "4"), ("segment.append", "4"), ("segment.sync", "1"),
        ("segment.sync", "4"), ("segment.roll", "1"), ("segment.open", "1"), ("reserve.hold", "1"),
    ],
)  # fmt: skip
async def test_killed_at_any_step_of_accepting_each_value_is_there_once(
    short_dir: Path, node: Node, label: str, nth: str
) -> None:
    """`publish.synced` lies between fsync and answer: the publisher cannot know, asks again, and gets one record."""
    timing = Timing(time.time_ns, time.monotonic, time.sleep)
    client = Client(str(node.socket), timing, random.Random(7))
    sent: list[Value] = list(range(10))
    victim = node.start(label, nth)

    def publish() -> None:
        for value in sent:
            client.publish("measurement", [("n", value), ("text", f"of {value}")], 40)

    publishing = asyncio.create_task(asyncio.to_thread(publish))
    assert await asyncio.to_thread(victim.wait, 30) == -9
    node.end()
    node.start()
    await publishing
    node.end()
    store = make_store(short_dir)
    await store.start()
    found = held(store)
    assert [value for _, _, value in found] == [
        each for value in sent for each in (value, f"of {value}")
    ]
    assert [counter for _, counter, _ in found] == list(range(1, 21))
    await store.stop()
