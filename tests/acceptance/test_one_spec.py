"""One spec, three runtimes: each behaviour of a workload is the same as process, container and WebAssembly module.

The programs and the cells that are left out are in tests/one_spec.py. Limits are real: the kernel ends what needs
too much memory, and a busy loop gets its share of a processor and no more.
"""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.engines import TestEngine
from tests.installation import Installation, Node, installation
from tests.one_spec import NOT_RUN, RUNTIMES, workload

from skerry.testing.waiting import eventually
from skerry.wire.workload import Resources, Restart, Stop, WorkloadSpec, WorkloadStatus

pytestmark = pytest.mark.timeout(180)

NEVER = Restart(policy="never")


@dataclass
class Bench:
    """A runtime and how a node is told about it."""

    runtime: str
    engine: TestEngine | None

    async def started(self, site: Installation, *specs: WorkloadSpec) -> Node:
        """A node that has been given `specs`."""
        node = site.node()
        if self.engine is not None:
            node.options += ["--set", f"containers.socket={self.engine.socket}"]
        await node.enrol(site.hub)
        await site.hub.apply(*specs)
        await node.start()
        await node.ready()
        return node


BESIDE_ONE_ANOTHER = [
    pytest.param(runtime, marks=pytest.mark.xdist_group(runtime)) for runtime in RUNTIMES
]
"""Each of the processes of `tools/run_tests` has runtimes of its own, and so no engine is started twice."""


@pytest.fixture(params=BESIDE_ONE_ANOTHER)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    behaviour = request.function.__name__.removeprefix("test_")
    if reason := NOT_RUN.get((behaviour, request.param)):
        pytest.skip(reason)
    if request.param not in {"docker", "podman"}:
        yield Bench(request.param, None)
        return
    engine: TestEngine = request.getfixturevalue(f"{request.param}_engine")
    yield Bench(request.param, engine)


async def status_of(node: Node, name: str) -> WorkloadStatus | None:
    status = await node.status()
    return next((one for one in status.workloads if one.workload == name), None) if status else None


async def is_so(node: Node, name: str, **wanted: object) -> bool:
    status = await status_of(node, name)
    return status is not None and all(
        str(getattr(status, field)) == str(value) for field, value in wanted.items()
    )


async def shows(node: Node, name: str, within: float = 30.0, **wanted: object) -> None:
    """Waits for a status with these fields, compared as people read them."""
    await eventually(partial(is_so, node, name, **wanted), f"{name} shows {wanted}", within)


async def has_restarted(node: Node, name: str, count: int) -> bool:
    status = await status_of(node, name)
    return status is not None and status.restarts >= count


def log_of(node: Node, name: str) -> str:
    path = node.directory / "logs" / name / "current.log"
    return path.read_text() if path.exists() else ""


async def test_start_environment_sdk_and_logs(short_dir: Path, bench: Bench) -> None:
    async with installation(short_dir) as site:
        node = await bench.started(site, workload(short_dir, bench.runtime, "a", "live"))
        await shows(node, "a", phase="running")
        await eventually(lambda: site.hub.has("a.value", 1), "its value is at the hub")
        assert {row.source for row in await site.hub.rows("a.value")} == {"a"}
        await eventually(
            lambda: "stdout F WORD=heard\n" in log_of(node, "a"), "it has its variable"
        )
        await eventually(
            lambda: "stderr F to stderr\n" in log_of(node, "a"), "both streams are kept"
        )


async def test_stop_by_its_signal(short_dir: Path, bench: Bench) -> None:
    async with installation(short_dir) as site:
        specs = [workload(short_dir, bench.runtime, name, "live") for name in ("a", "b")]
        node = await bench.started(site, *specs)
        await shows(node, "a", phase="running")
        await eventually(lambda: site.hub.has("a.value", 1), "it has set its handler")
        await site.hub.apply(specs[1], prune=True)
        await eventually(partial(_gone, node, "a"), "it has ended and is forgotten")
        assert await is_so(node, "b", phase="running")


async def test_grace_then_sigkill(short_dir: Path, bench: Bench) -> None:
    async with installation(short_dir) as site:
        deaf = workload(short_dir, bench.runtime, "deaf", "deaf", stop=Stop(grace=0.5))
        node = await bench.started(site, deaf)
        await eventually(lambda: "stdout F deaf\n" in log_of(node, "deaf"), "it does not listen")
        changed = workload(short_dir, bench.runtime, "deaf", "live", stop=Stop(grace=0.5))
        before = await node.pid("deaf")
        await site.hub.apply(changed)
        await eventually(partial(_another, node, "deaf", before), "its successor runs")
        assert not Path(f"/proc/{before}").exists()
        assert "stdout F not now\n" in log_of(node, "deaf")


async def test_crash_back_off_and_exit_code(short_dir: Path, bench: Bench) -> None:
    async with installation(short_dir) as site:
        eager = Restart(delay=0.2, attempts=100)
        node = await bench.started(
            site, workload(short_dir, bench.runtime, "c", "crash", restart=eager)
        )
        await eventually(partial(has_restarted, node, "c", 3), "it was restarted three times", 60)
        await shows(node, "c", phase="backoff", exit="code 3")
        status = await status_of(node, "c")
        assert status is not None


async def test_breaker_opens_and_half_opens(short_dir: Path, bench: Bench) -> None:
    async with installation(short_dir) as site:
        strict = Restart(delay=0.05, max_delay=0.1, attempts=2, window=3.0)
        node = await bench.started(
            site, workload(short_dir, bench.runtime, "c", "crash", restart=strict)
        )
        await shows(node, "c", phase="tripped")
        before = await status_of(node, "c")
        assert before is not None
        await eventually(partial(has_restarted, node, "c", before.restarts + 1), "one more try")


async def test_killed_by_a_signal(short_dir: Path, bench: Bench) -> None:
    async with installation(short_dir) as site:
        node = await bench.started(
            site, workload(short_dir, bench.runtime, "a", "live", restart=NEVER)
        )
        await shows(node, "a", phase="running")
        os.kill(await node.pid("a"), signal.SIGKILL)
        await shows(node, "a", phase="failed", exit="signal 9")


async def test_out_of_memory(short_dir: Path, bench: Bench) -> None:
    async with installation(short_dir) as site:
        small = Resources(memory=64 << 20)
        bomb = workload(short_dir, bench.runtime, "bomb", "bomb", resources=small, restart=NEVER)
        node = await bench.started(site, bomb, workload(short_dir, bench.runtime, "a", "live"))
        await shows(node, "bomb", phase="failed")
        status = await status_of(node, "bomb")
        assert status is not None
        assert "out of memory" in str(status.exit)
        assert await node.runs("a")


async def test_share_of_a_processor(short_dir: Path, bench: Bench) -> None:
    async with installation(short_dir) as site:
        burn = workload(short_dir, bench.runtime, "burn", "burn", resources=Resources(cpu=0.25))
        node = await bench.started(site, burn)
        await shows(node, "burn", phase="running")
        pid = await node.pid("burn")
        start, before = time.monotonic(), _cpu_seconds(pid)
        await eventually(lambda: time.monotonic() - start > 3, "three seconds have passed")
        share = (_cpu_seconds(pid) - before) / (time.monotonic() - start)
        assert 0.02 < share < 0.35


async def test_limit_of_processes(short_dir: Path, bench: Bench) -> None:
    async with installation(short_dir) as site:
        forks = workload(
            short_dir, bench.runtime, "forks", "forks", resources=Resources(pids=20), restart=NEVER
        )
        node = await bench.started(site, forks)
        await shows(node, "forks", phase="failed", exit="code 5")


@pytest.mark.guarantee("G8")
async def test_agent_restart(short_dir: Path, bench: Bench) -> None:
    async with installation(short_dir) as site:
        node = await bench.started(site, workload(short_dir, bench.runtime, "a", "live"))
        await eventually(lambda: site.hub.has("a.value", 1), "it runs")
        before = await node.pid("a")
        await node.kill()
        await node.start()
        await node.ready()
        await shows(node, "a", phase="running", pid=before, restarts=0)
        os.kill(before, signal.SIGKILL)
        await eventually(partial(_another, node, "a", before), "it is still looked after")


@pytest.mark.guarantee("G2")
async def test_start_without_a_hub(short_dir: Path, bench: Bench) -> None:
    """As after a loss of power: agent, keeper and workloads are gone at once, and so is the hub."""
    async with installation(short_dir) as site:
        node = await bench.started(site, workload(short_dir, bench.runtime, "a", "live"))
        await eventually(lambda: site.hub.has("a.value", 1), "it runs")
        before = await node.pid("a")
        await site.hub.kill()
        await node.kill()
        node.clean()
        if Path(f"/proc/{before}").exists():
            os.kill(before, signal.SIGKILL)
        await node.start()
        await node.ready()
        await eventually(partial(_another, node, "a", before), "it runs again")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _gone(node: Node, name: str) -> bool:
    return await status_of(node, name) is None


async def _another(node: Node, name: str, pid: int) -> bool:
    status = await status_of(node, name)
    return status is not None and status.phase == "running" and status.pid not in {None, pid}
