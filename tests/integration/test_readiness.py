"""Readiness probes against real processes, sockets and an HTTP server."""

import asyncio
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.workload_cases import live, wish
from tests.workload_rig import Rig, Surroundings

from skerry.keeper.log_rules import LogRules
from skerry.keeper.procfs import read_stat
from skerry.kit.clock import NS, SystemClock
from skerry.node.ports import Launch, ProcessLaunch
from skerry.node.workloads.http_status import http_status
from skerry.node.workloads.readiness import (
    FAILURES,
    Prober,
    Readiness,
    judge,
    judge_health,
    next_pause,
)
from skerry.node.workloads.runtimes.beside import run_beside
from skerry.testing.fake_health import FakeHealth
from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.workload import Assignment, ContainerSpec, Ready


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ([""], [True]),
        (["x", "x", "x", "x", ""], [False, False, False, False, True]),
        (["", "x", "x", "", "x", "x"], [True, True, True, True, True, True]),
        (["", "x", "x", "x", "x", ""], [True, True, True, False, False, True]),
    ],
)
def test_ready_by_one_success_and_not_ready_by_three_failures(
    failures: list[str], expected: list[bool]
) -> None:
    now, found = Readiness(ready=False), []
    for failure in failures:
        now = judge(now, failure)
        found.append(now.ready)
    assert found == expected
    assert FAILURES == 3


class Bench:
    """Watches one probe and keeps the last judgement."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.http = aiohttp.ClientSession()
        self.around = Surroundings()
        self.health = FakeHealth()
        self.told: list[Readiness] = []
        self._tasks: list[asyncio.Task[None]] = []

    def launch_for(self, assignment: Assignment, instance: str) -> ProcessLaunch:
        command = tuple(assignment.spec.process.command)
        log = self.directory / "log"
        return ProcessLaunch(
            instance=instance,
            workload="a",
            environment={"WORD": "yes"},
            strict=False,
            log=log,
            log_rules=LogRules(1, 1),
            command=command,
            directory=self.directory,
            limits={},
        )

    def watch(self, ready: Ready) -> None:
        prober = Prober(
            partial(http_status, self.http),
            self.around,
            self.launch_for,
            run_beside,
            self.health,
            SystemClock(),
        )
        actual = live(wish("a", ready=ready), ready=False)
        work = prober.watch(actual, Readiness(ready=False), self.told.append)
        self._tasks.append(asyncio.create_task(work))

    async def until(self, *, ready: bool, failure: str = "") -> None:
        await eventually(
            lambda: any(one.ready == ready and failure in one.failure for one in self.told),
            f"ready={ready} {failure}",
        )
        self.told.clear()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.http.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()


async def test_exec_runs_in_the_workloads_environment_and_directory(bench: Bench) -> None:
    code = "import os, sys; sys.exit(not (os.environ['WORD'] == 'yes' and os.path.exists('flag')))"
    bench.watch(Ready(exec=[sys.executable, "-c", code], interval=0.02))
    await bench.until(ready=False, failure="ended with code 1")
    (bench.directory / "flag").touch()
    await bench.until(ready=True)
    (bench.directory / "flag").unlink()
    await bench.until(ready=False, failure="ended with code 1")


async def test_exec_in_a_container_is_asked_seldom_in_the_long_run(tmp_path: Path) -> None:
    """Podman keeps a process for each for five minutes."""
    clock = ManualClock()
    asked: list[float] = []
    bench = Bench(tmp_path)

    async def execute(_launch: Launch, _command: list[str]) -> int:
        asked.append(clock.monotonic_ns() / NS - 1000)
        return 0

    prober = Prober(
        bench.around.status, bench.around, bench.launch_for, execute, bench.health, clock
    )
    box = wish("a", container=ContainerSpec(image="i"), ready=Ready(exec=["true"], interval=1))
    watching = asyncio.create_task(
        prober.watch(live(box), Readiness(ready=False), bench.told.append)
    )
    for _ in range(300):
        await eventually(lambda: clock.sleepers == 1, "it pauses")
        clock.advance(1)
    watching.cancel()
    assert asked[:7] == [0, 1, 3, 7, 15, 25, 35]
    assert len(asked) < 40
    assert next_pause(60) == 60
    await bench.close()


async def test_an_exec_that_hangs_is_killed_with_its_children(bench: Bench) -> None:
    script = "sleep 600 & echo $! > child; wait"
    bench.watch(Ready(exec=["/bin/sh", "-c", script], timeout=0.3, interval=0.1))
    file = bench.directory / "child"
    # On a busy machine a shell may be killed before it has a child; the next probe comes at once.
    await eventually(lambda: file.exists() and file.read_text() != "", "it has a child")
    child = int(file.read_text())
    await bench.until(ready=False, failure="no answer within 0.3 s")

    def is_gone() -> bool:
        stat = read_stat(child)
        return stat is None or not stat.lives

    await eventually(is_gone, "the probe's child is killed")


async def test_an_exec_that_does_not_exist_is_named(bench: Bench) -> None:
    bench.watch(Ready(exec=["/no/such/probe"], interval=60))
    await bench.until(ready=False, failure="cannot run /no/such/probe: No such file")


async def test_tcp(bench: Bench) -> None:
    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bench.watch(Ready(tcp=port, interval=0.01))
    await bench.until(ready=True)
    server.close()
    await server.wait_closed()
    await bench.until(ready=False, failure=f"port {port}")


async def test_http_accepts_2xx_and_3xx(bench: Bench) -> None:
    status = 503

    async def answer(_request: web.Request) -> web.Response:
        headers = {"Location": "/elsewhere"} if status == 302 else {}
        return web.Response(status=status, headers=headers)

    app = web.Application()
    app.router.add_get("/ready", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    bench.watch(Ready(http=f"http://127.0.0.1:{port}/ready", interval=0.01))
    await bench.until(ready=False, failure="answers 503")
    status = 302
    await bench.until(ready=True)
    status = 404
    await bench.until(ready=False, failure="answers 404")
    await runner.cleanup()
    await bench.until(ready=False, failure="cannot get")


async def test_a_value_counts_only_from_this_instance(bench: Bench) -> None:
    started = live().instance
    assert started
    bench.around.values[("a", "temp.*")] = started.started - 1
    bench.watch(Ready(value="temp.*"))
    bench.around.bell.ring()
    await asyncio.sleep(0)
    assert bench.told == []
    bench.around.values[("a", "temp.*")] = started.started
    bench.around.bell.ring()
    await bench.until(ready=True)


async def test_readiness_is_shown_and_holds_up_dependants(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    runtime = FakeRuntime(clock=manual_clock)
    rig = Rig(tmp_path, runtime, manual_clock)
    await rig.start()
    url = "http://127.0.0.1:1/ready"
    db = wish("db", ready=Ready(http=url))
    rig.wishes.want(db, wish("app", depends_on={"db": "ready"}))
    await rig.until("db", "running")
    await eventually(lambda: "cannot reach" in rig.reported.last["db"].message, "why is shown")
    assert not rig.reported.last["db"].ready
    assert rig.reported.last["app"].phase == "pending"
    rig.around.answers[url] = 200
    manual_clock.advance(1)
    await rig.until("app", "running")
    assert rig.reported.last["db"].ready
    assert rig.reported.last["db"].message == ""

    await rig.restart()
    assert (await rig.until("db", "running")).ready, "an agent's restart is no reason to doubt"
    del rig.around.answers[url]

    def is_unready() -> bool:
        manual_clock.advance(1)
        return not rig.reported.last["db"].ready

    await eventually(is_unready, "three failures")
    assert rig.phases() == {"app": "running", "db": "running"}
    rig.around.answers[url] = 200
    runtime.end(runtime.instance_of("db"), code=1)
    await eventually(lambda: len(runtime.launched) == 3, "db is restarted")
    await eventually(lambda: rig.reported.last["db"].ready, "and judged anew")
    await rig.stop()


async def test_a_containers_own_health_check(bench: Bench) -> None:
    bench.watch(Ready(health=True))
    for word, ready in (("starting", False), ("healthy", True), ("unhealthy", False)):
        bench.health.say("i1", word)
        await bench.until(ready=ready, failure="" if ready else f"its health check says {word}")
    bench.health.say("i1", "")
    await bench.until(ready=False, failure="its image has no health check")


def test_what_a_container_that_asks_for_nothing_is_judged_by() -> None:
    assert judge_health("", optional=True) == Readiness(ready=True)
    assert not judge_health("starting", optional=True).ready
    box = wish("a", runtime="container", process=None, container=ContainerSpec(image="cam:1"))
    assert box.spec.probe == Ready(health=True)
    assert wish("a").spec.probe is None
