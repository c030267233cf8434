"""Containers that their engine starts again whenever they end by themselves, on each engine: the instance goes on."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.engines import IMAGE, TestEngine, ask

from skerry.kit.bell import Bell
from skerry.node.ports import (
    ContainerExtras,
    ContainerLaunch,
    InstanceNews,
    ProcessIdentity,
    StoredInstance,
)
from skerry.node.workloads.runtimes.containers.runtime import ContainerRuntime
from skerry.testing.container_device import ContainerDevice
from skerry.testing.exits import Exits
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit

pytestmark = pytest.mark.timeout(120)  # the first test starts the engines

NAME = "cyberwave-driver-0a1b2c3d"
AGAIN = ContainerExtras(name=NAME, host={"RestartPolicy": {"Name": "unless-stopped"}})

PATIENT = (30.0, 60.0)
"""Seconds for the engine of a busy machine."""

CRASHES = """
import os, signal, sys
count = len(os.listdir("/runs"))
open(f"/runs/{count}", "w").close()
print("life", count, flush=True)
if count < int(sys.argv[1]):
    sys.exit(3)
signal.signal(15, lambda *_: sys.exit(0))
print("stays", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
async def device(engine: TestEngine, short_dir: Path) -> AsyncIterator[ContainerDevice]:
    containers = ContainerDevice(short_dir, engine.socket, IMAGE)
    yield containers
    await containers.end()


@pytest.fixture
def runs(short_dir: Path) -> Path:
    """Has a file for each life of a container that crashes."""
    path = short_dir / "runs"
    path.mkdir()
    return path


def crashes(device: ContainerDevice, runs: Path, times: int) -> ContainerLaunch:
    """Ends with code 3 so often, then waits."""
    launch = device.launch("python3", "-c", CRASHES, str(times), volumes=[f"{runs}:/runs"])
    return replace(launch, extras=AGAIN)


async def running(
    device: ContainerDevice, launch: ContainerLaunch
) -> tuple[ContainerRuntime, Exits, ContainerLaunch, ProcessIdentity]:
    """One that the engine starts again by itself, under an agent that hears of its ends."""
    runtime, exits = device.agent(), Exits()
    await runtime.connect(exits)
    launch = replace(launch, extras=AGAIN)
    first = await runtime.start(launch)
    await device.settled(launch)
    return runtime, exits, launch, first


def state(engine: TestEngine, name: str = NAME) -> dict[str, Any] | None:
    status, answer = ask(engine.socket, "GET", f"/v1.40/containers/{name}/json")
    return json.loads(answer)["State"] if status == 200 else None


def lives_again(exits: Exits, device: ContainerDevice, count: int) -> ProcessIdentity | None:
    """The new first process once this restart has been told of."""
    identities = [one.identity for one in exits.restarts if one.count >= count and one.identity]
    return identities[-1] if identities and device.lives(identities[-1]) else None


@pytest.mark.guarantee("G8")
async def test_a_crash_is_a_restart_of_the_same_instance(
    device: ContainerDevice, engine: TestEngine
) -> None:
    runtime, exits, launch, first = await running(device, device.waits())
    container = runtime.container(launch.instance)
    os.kill(first.pid, signal.SIGKILL)
    await eventually(lambda: lives_again(exits, device, 1) is not None, "it runs again")
    told = exits.restarts[-1]
    assert (told.instance, told.count, told.exit.signal) == (launch.instance, 1, 9)
    assert told.identity != first
    assert runtime.container(launch.instance) == container
    await eventually(lambda: device.log_text().count("ready") == 2, "both outputs are in the log")
    assert exits.told == {}

    await runtime.signal(launch.instance, "SIGTERM")
    assert (await exits.of(launch.instance)) == Exit(
        signal=15, at=exits.told[launch.instance][0].at
    )
    await eventually(lambda: (state(engine) or {})["Status"] == "exited", "it stays so")
    await runtime.acknowledge(launch.instance)
    assert state(engine) is None
    assert max(one.count for one in exits.restarts) == 1


async def test_each_crash_counts_as_it_happens(
    device: ContainerDevice, engine: TestEngine, runs: Path
) -> None:
    runtime, exits = device.agent(), Exits()
    await runtime.connect(exits)
    launch = crashes(device, runs, 4)
    await runtime.start(launch)
    await eventually(lambda: lives_again(exits, device, 4) is not None, "it has settled")
    counts = [one.count for one in exits.restarts]
    assert counts == sorted(counts)
    assert counts[-1] == 4
    assert {one.exit.code for one in exits.restarts if one.count} <= {3, None}
    assert exits.told == {}
    await eventually(lambda: "stays" in device.log_text(), "its last life is in the log")
    assert [device.log_text().count(f"life {n}\n") for n in range(5)] == [1] * 5


async def test_what_happens_while_no_agent_is_there_is_counted_by_the_next(
    device: ContainerDevice, runs: Path
) -> None:
    runtime, exits = device.agent(), Exits()
    await runtime.connect(exits)
    launch = crashes(device, runs, 2)
    await runtime.start(launch)
    await eventually(lambda: "stays" in device.log_text(), "it has settled")
    await eventually(lambda: lives_again(exits, device, 2) is not None, "and that is told")
    second = lives_again(exits, device, 2)
    assert second is not None
    await runtime.close()
    os.kill(second.pid, signal.SIGKILL)
    await eventually(lambda: len(list(runs.iterdir())) == 4, "the engine has started it again")

    runtime, later = device.agent(PATIENT), Exits()
    [running] = await runtime.connect(later)
    assert running.instance == launch.instance
    await eventually(lambda: lives_again(later, device, 3) is not None, "the next agent counts it")
    assert (max(one.count for one in later.restarts), later.told) == (3, {})


async def test_an_agent_may_come_while_it_is_down(device: ContainerDevice, runs: Path) -> None:
    runtime, exits = device.agent(), Exits()
    await runtime.connect(exits)
    launch = crashes(device, runs, 6)
    await runtime.start(launch)
    await eventually(lambda: len(list(runs.iterdir())) >= 5, "it crashes")
    await runtime.close()
    runtime, later = device.agent(PATIENT), Exits()
    assert [one.instance for one in await runtime.connect(later)] == [launch.instance]
    await eventually(lambda: lives_again(later, device, 6) is not None, "it has settled")
    assert (max(one.count for one in later.restarts), later.told) == (6, {})
    await eventually(lambda: "stays" in device.log_text(), "its last life is in the log")


async def test_while_it_is_down_nothing_is_known_of_its_health(
    device: ContainerDevice,
) -> None:
    launch = replace(device.waits(), extras=AGAIN)
    seen: list[str | None] = []

    class Ear(Bell):
        def ring(self) -> None:
            seen.append(runtime.health(launch.instance))
            super().ring()

    device.images.changed = Ear()
    runtime, exits = device.agent(), Exits()
    healths: list[str | None] = []

    def hear(news: InstanceNews) -> None:
        healths.append(runtime.health(news.instance))
        exits(news)

    await runtime.connect(hear)
    first = await runtime.start(launch)
    await device.settled(launch)
    healths.clear()
    seen.clear()
    os.kill(first.pid, signal.SIGKILL)
    await eventually(lambda: lives_again(exits, device, 1) is not None, "it runs again")
    assert seen[:1] == [None], "it was missed, however soon it was back"
    assert healths in ([None, ""], [""])  # Podman tells both at once
    assert runtime.health(launch.instance) == ""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
async def test_one_that_crashes_over_and_over_can_be_ended(
    device: ContainerDevice, engine: TestEngine, runs: Path, name: str
) -> None:
    runtime, exits = device.agent(), Exits()
    await runtime.connect(exits)
    launch = crashes(device, runs, 1000)
    await runtime.start(launch)
    await eventually(lambda: any(one.count >= 4 for one in exits.restarts), "it crashes")
    await runtime.signal(launch.instance, name)
    await exits.of(launch.instance)
    told = len(exits.restarts)
    await runtime.acknowledge(launch.instance)
    assert state(engine) is None
    assert len(exits.restarts) == told
    assert len(exits.told[launch.instance]) == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
async def test_one_that_crashes_at_that_moment_can_be_ended(
    device: ContainerDevice, engine: TestEngine, name: str
) -> None:
    runtime, exits, launch, first = await running(device, device.waits())
    os.kill(first.pid, signal.SIGKILL)
    await runtime.signal(launch.instance, name)
    await exits.of(launch.instance)
    await runtime.acknowledge(launch.instance)
    assert state(engine) is None
    assert len(exits.told[launch.instance]) == 1


async def test_one_that_somebody_stops_has_ended(
    device: ContainerDevice, engine: TestEngine
) -> None:
    _, exits, launch, _ = await running(device, device.waits())
    assert ask(engine.socket, "POST", f"/v1.40/containers/{NAME}/stop?t=5")[0] == 204
    assert (await exits.of(launch.instance)).signal == 15
    assert all(one.count == 0 for one in exits.restarts)


async def test_a_signal_that_it_survives_is_the_beginning_of_its_end(
    device: ContainerDevice, engine: TestEngine
) -> None:
    slow = "import signal, sys, time\ndef end(*_):\n    print('going', flush=True); signal.alarm(1)\nsignal.signal(15, end)\nsignal.signal(14, lambda *_: sys.exit(5))\nprint('ready', flush=True)\nwhile True: signal.pause()"
    runtime, exits, launch, _ = await running(device, device.launch("python3", "-c", slow))
    await runtime.signal(launch.instance, "SIGTERM")
    await eventually(lambda: "going" in device.log_text(), "it was told")
    assert (await exits.of(launch.instance)).code == 5
    await eventually(lambda: (state(engine) or {})["Status"] == "exited", "it stays so")
    assert all(one.count == 0 for one in exits.restarts)


async def test_an_agent_that_finds_no_engine_waits_for_what_the_engine_makes_of_it(
    device: ContainerDevice, engine: TestEngine
) -> None:
    """Its process has ended, so it may be starting it again: nothing takes its place."""
    runtime, _, launch, first = await running(device, device.waits())
    await runtime.close()
    os.kill(first.pid, signal.SIGKILL)
    await eventually(lambda: not device.lives(first), "it has ended")
    away = device.directory / "away.sock"
    runtime, later = device.agent(sockets=away), Exits()
    assert await runtime.connect(later) == []
    [kept] = await runtime.adopt([StoredInstance(launch, first)])
    assert kept.instance == launch.instance
    away.symlink_to(engine.socket)
    await eventually(lambda: lives_again(later, device, 1) is not None, "the engine tells")
    assert later.told == {}
