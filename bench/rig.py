"""Real hub and nodes for the benches, on the tests' rig: a room that is empty afterwards, specs, a publisher."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from tests.installation import Hub, Installation, Node

from skerry.testing.waiting import eventually
from skerry.wire.workload import ProcessSpec, WorkloadSpec

SLOW_SYNC_SOURCE = Path(__file__).with_name("slow_sync.c")
UNITS = 50


@contextlib.contextmanager
def room(name: str) -> Iterator[Path]:
    """An empty directory with a short path, for sockets; it is removed at the end."""
    path = Path(tempfile.mkdtemp(prefix=f"skb-{name}-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def stamping(name: str, stamp: Path, file: Path, **fields: object) -> WorkloadSpec:
    """A workload that writes its start time to `file` and waits."""
    return WorkloadSpec(name=name, process=ProcessSpec(command=[str(stamp), str(file)]), **fields)  # type: ignore[arg-type]


def fleet(stamp: Path, directory: Path, count: int = UNITS) -> dict[Path, WorkloadSpec]:
    """`count` stamping workloads by the file that each writes to."""
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"w{index}" for index in range(count)]
    return {file: stamping(file.name, stamp, file) for file in files}


async def online(node: Node) -> None:
    """Waits for the live link."""
    await eventually(lambda: node.link_is("online"), f"{node.name} is online", 20)


async def joined(
    installed: Installation, name: str, url: str, *specs: WorkloadSpec, options: Sequence[str] = ()
) -> Node:
    """One more node, enrolled and online through `url`, with `specs` applied and running; `options` go with its command."""
    node = installed.node(name, url)
    node.options += options
    await node.enrol(installed.hub)
    await installed.hub.apply(*specs)
    await node.start()
    await node.ready()
    await online(node)
    names = [spec.name for spec in specs]
    await eventually(lambda: node.runs(*names), f"{name} runs its workloads", 20)
    return node


async def gone(node: Node) -> None:
    """Waits until the node has no workload any more."""

    async def empty() -> bool:
        status = await node.status()
        return status is not None and not status.workloads

    await eventually(empty, f"{node.name} has ended its workloads", 20)


async def visible(hub: Hub, name: str) -> float:
    """When (monotonic seconds) a reader at the hub first finds a record of this name, asked for every 5 ms."""
    await until(lambda: hub.has(name, 1), 0.005)
    return time.monotonic()


async def until(condition: Callable[[], Awaitable[bool]], every: float) -> None:
    """Asks every so many seconds until it is so."""
    while not await condition():  # noqa: ASYNC110 - another process has no event for us
        await asyncio.sleep(every)


def agent_pid(node: Node) -> int:
    """The node's agent process."""
    assert node.process.process is not None
    return node.process.process.pid


@contextlib.contextmanager
def slow_sync(directory: Path) -> Iterator[None]:
    """Processes started inside wait 20 ms longer for each fsync and fdatasync; their children do not."""
    library = directory / "slow_sync.so"
    subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SLOW_SYNC_SOURCE)], check=True
    )
    os.environ["LD_PRELOAD"] = str(library)
    try:
        yield
    finally:
        del os.environ["LD_PRELOAD"]


def sync_ms(directory: Path, count: int = 50) -> float:
    """Median time of appending 4 KiB to a file in `directory` and making it durable, in ms."""
    times = []
    with (directory / "probe").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(bytes(4096))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    (directory / "probe").unlink()
    return statistics.median(times)


class HostFigures:
    """Twelve values a second as host-sensors publishes them: each name wanders, most have one decimal."""

    NAMES = (
        "cpu.percent", "network.rx.bytes", "network.tx.bytes", "memory.total", "memory.used", "memory.percent",
        "disk.used", "disk.percent", "load.1m", "load.5m", "load.15m", "uptime",
    )  # fmt: skip

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._cpu, self._load, self._memory = 12.0, 0.4, 4_000_000_000
        self._second = 0

    def next(self) -> list[tuple[str, int | float]]:
        """The next second's values."""
        chance = self._chance
        self._second += 1
        self._cpu = min(100.0, max(0.5, self._cpu + chance.gauss(0, 4)))
        self._load = min(8.0, max(0.01, self._load + chance.gauss(0, 0.02)))
        self._memory += chance.randrange(-300, 301) * 4096
        disk = 24_000_000_000 + self._second * 40_960
        values: tuple[int | float, ...] = (
            round(self._cpu, 1),
            round(abs(chance.gauss(2000, 900)), 1),
            round(abs(chance.gauss(5000, 1500)), 1),
            25_275_000_000,
            self._memory,
            round(self._memory / 252_750_000, 1),
            disk,
            round(disk / 2_700_000_000, 1),
            round(self._load, 2),
            round(self._load * 0.9, 2),
            round(self._load * 0.8, 2),
            90_000 + self._second,
        )
        return [(f"host.{name}", value) for name, value in zip(self.NAMES, values, strict=True)]
