"""The agent is SIGKILLed at labelled operations, again and again, on one data directory under load.

After every death it must start; in the end every accepted value is at the hub once, and each workload runs once.
`make test` makes a dozen deaths, `make soak` the issue's two hundred (twenty between fsync and reply).
"""

import asyncio
import contextlib
import random
import sqlite3
from collections import Counter
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.installation import Installation, Node, installation, sleeper

from skerry.cli.http import node_api
from skerry.kit.errors import SkerryError
from skerry.sdk.client import Client
from skerry.testing.waiting import eventually
from skerry.wire.local import Doctor
from skerry.wire.records import PublishedRecord
from skerry.wire.workload import ProcessSpec, Restart, Update, WorkloadSpec

LABELS = (
    "segment.append",
    "segment.sync",
    "publish.synced",
    "state.put.before-commit",
    "state.put.after-commit",
    "state.freeze.before-commit",
    "state.freeze.after-commit",
    "state.acknowledge.after-commit",
    "workload.starting.before-commit",
    "workload.starting.after-commit",
    "workload.spawned",
    "workload.started.after-commit",
    "workload.ended.before-commit",
    "workload.ended.after-commit",
)
FLAPPING = WorkloadSpec(
    name="flapping",
    process=ProcessSpec(command=["/bin/sh", "-c", "sleep 0.1; exit 1"]),
    restart=Restart(delay=0.05, max_delay=0.1, attempts=1000, window=1.0),
)


OVERLAP = (
    "workload.starting-beside.before-commit",
    "workload.starting-beside.after-commit",
    "workload.spawned",
    "workload.started-beside.after-commit",
    "workload.promoted.before-commit",
    "workload.promoted.after-commit",
    "workload.signalled",
)


@pytest.mark.timeout(120)
async def test_an_agent_that_dies_in_an_update_leaves_one_that_serves(short_dir: Path) -> None:
    """At each operation of an overlapping update; meanwhile something of the workload always lives."""
    async with installation(short_dir) as site:
        node = await site.started(web(0))
        for version, label in enumerate(OVERLAP, start=1):
            await node.kill()
            await site.hub.apply(web(version))
            await node.start(fault=(label, 1))
            async with asyncio.timeout(30):
                assert node.process.process is not None
                await node.process.process.wait()
            assert _living(node, "web"), label
            await node.start()
            await eventually(partial(_only, node, "web", f"version={version}"), label)


def web(version: int) -> WorkloadSpec:
    return msgspec.structs.replace(
        sleeper("web"),
        env={"MARK": f"version={version}"},
        update=Update(strategy="overlap", min_healthy=0.2),
    )


def _living(node: Node, workload: str) -> list[int]:
    return [pid for pid in node.processes() if _workload_of(pid) == workload and _leads(pid)]


def _only(node: Node, workload: str, mark: str) -> bool:
    """Whether exactly one instance lives, of this version; there is at least one at every moment."""
    # A look takes time: the one that ends during it was replaced by one that the look had passed.
    living = _living(node, workload) or _living(node, workload)
    assert living
    try:
        [alone] = [Path(f"/proc/{pid}/environ").read_bytes() for pid in living]
    except (OSError, ValueError):  # one has ended meanwhile, or there are several
        return False
    return mark.encode() in alone


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(120)
async def test_a_dozen_deaths(short_dir: Path) -> None:
    await live_through(short_dir, deaths=12, between_fsync_and_reply=3, seed=11)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_two_hundred_deaths(short_dir: Path) -> None:
    await live_through(short_dir, deaths=200, between_fsync_and_reply=20, seed=12)


async def live_through(
    directory: Path, *, deaths: int, between_fsync_and_reply: int, seed: int
) -> None:
    chance = random.Random(seed)
    labels = ["publish.synced"] * between_fsync_and_reply
    labels += [chance.choice(LABELS) for _ in range(deaths - between_fsync_and_reply)]
    chance.shuffle(labels)
    async with installation(directory) as site:
        node = await site.started(sleeper("feeder"), sleeper("steady"), FLAPPING)
        await node.kill()
        steady = await _pid_of(node, "steady")
        accepted: list[int] = []
        enough = asyncio.Event()
        feeding = asyncio.create_task(feed(node.publisher("feeder"), accepted, enough))
        for label in labels:
            await node.start(fault=(label, chance.randint(1, 8)))
            async with asyncio.timeout(30):
                assert node.process.process is not None
                await node.process.process.wait()
            assert node.process.process.returncode == -9, node.log.read_text()[-2000:]
        await node.start()
        await node.ready()
        enough.set()
        await feeding
        await check(site, node, accepted)
        assert await _pid_of(node, "steady") == steady


async def feed(client: Client, accepted: list[int], enough: asyncio.Event) -> None:
    """Publishes 0, 1, 2, … one at a time until it is enough; each that returned was accepted."""
    value = 0
    while not enough.is_set():
        await asyncio.to_thread(
            client.publish, "measurement", [PublishedRecord("t.value", value, value)], 30.0
        )
        accepted.append(value)
        value += 1


async def check(site: Installation, node: Node, accepted: list[int]) -> None:
    await eventually(lambda: node.runs("feeder", "steady"), "the workloads run")
    await eventually(
        lambda: site.hub.has("t.value", len(accepted)), f"{len(accepted)} values at the hub", 60
    )
    counted = Counter(row.value for row in await site.hub.rows("t.value"))
    assert set(counted.values()) == {1}
    assert set(counted) == set(accepted)
    async with node_api(node.directory) as api:
        checks = {each.name: each for each in (await api.get("/v1/doctor", Doctor)).checks}
    assert checks["store"].outcome == checks["damaged files"].outcome == "ok"
    with contextlib.closing(sqlite3.connect(node.directory / "node.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    await eventually(lambda: _once_each(node), "each workload runs once")


async def _once_each(node: Node) -> bool:
    running = Counter(
        name for pid in node.processes() if (name := _workload_of(pid)) and _leads(pid)
    )
    try:
        known = await node.pids()
    except (SkerryError, AssertionError):
        return False
    return (
        running["feeder"] == running["steady"] == 1
        and running["flapping"] <= 1
        and set(running) <= set(known) | {"flapping"}
    )


def _leads(pid: int) -> bool:
    """Whether the process leads its session, as the first process of every instance does."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[3]) == pid
    except OSError:
        return False


def _workload_of(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((word[16:].decode() for word in words if word.startswith(b"SKERRY_WORKLOAD=")), "")


async def _pid_of(node: Node, workload: str) -> int:
    found = [pid for pid in node.processes() if _workload_of(pid) == workload and _leads(pid)]
    assert len(found) == 1, found
    return found[0]
