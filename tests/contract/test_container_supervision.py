"""The supervisor over containers that their engine starts again, on each engine: one instance, every crash counted, one end."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.container_site import gone
from tests.engines import IMAGE, TestEngine, ask
from tests.workload_cases import wish
from tests.workload_rig import Rig

from skerry.node.ports import ContainerExtras, Launch, Restarted
from skerry.testing.container_device import ContainerDevice
from skerry.testing.waiting import eventually
from skerry.wire.workload import Assignment, Stop

pytestmark = pytest.mark.timeout(180)  # the first test starts the engines

NAME = "cyberwave-driver-0a1b2c3d"
AGAIN = ContainerExtras(name=NAME, host={"RestartPolicy": {"Name": "unless-stopped"}})
GRACE = Stop(grace=5.0)


class Device:
    """A node's supervisor over an engine; agents come and go."""

    def __init__(self, containers: ContainerDevice, directory: Path) -> None:
        self.containers = containers
        self.rig = Rig(directory, containers.agent(), containers.clock)
        self.rig.launch_for = self._launch
        self.heard: list[Restarted] = []

    async def start(self) -> None:
        await self.rig.start()
        self.rig.supervisor.on_restart(self.heard.append)

    async def next_agent(self) -> None:
        self.rig.runtime = self.containers.agent()
        await self.start()

    async def running(self) -> tuple[str, int]:
        """Its instance and first process."""

        def settled() -> bool:
            row = self.rig.rows().get("w")
            identity = None if row is None or row.instance is None else row.instance.identity
            return identity is not None and self.containers.lives(identity)

        await eventually(settled, "it runs")
        instance = self.rig.rows()["w"].instance
        assert instance is not None
        assert instance.identity is not None
        return instance.id, instance.identity.pid

    async def counts(self, restarts: int) -> None:
        def counted() -> bool:
            status = self.rig.last("w")
            return status is not None and (status.restarts, status.ready) == (restarts, True)

        await eventually(counted, f"{restarts} restarts: {self.rig.last('w')}")

    def _launch(self, _assignment: Assignment, instance: str) -> Launch:
        return replace(self.containers.waits(), instance=instance, extras=AGAIN)


@pytest.fixture
async def device(engine: TestEngine, short_dir: Path) -> AsyncIterator[Device]:
    containers = ContainerDevice(short_dir, engine.socket, IMAGE)
    found = Device(containers, short_dir)
    await found.start()
    yield found
    await found.rig.stop()
    await containers.end()


@pytest.mark.guarantee("G8")
async def test_a_crash_and_an_agents_absence_leave_one_instance(device: Device) -> None:
    rig = device.rig
    rig.wishes.want(wish("w", stop=GRACE))
    instance, first = await device.running()
    os.kill(first, signal.SIGKILL)
    await device.counts(1)
    same, second = await device.running()
    assert same == instance
    assert [(one.count, one.more, one.exit.signal) for one in device.heard] == [(1, 1, 9)]

    await rig.stop()
    os.kill(second, signal.SIGKILL)
    await eventually(lambda: not alive(second), "it has ended while no agent is there")
    await device.next_agent()
    await device.counts(2)
    again, third = await device.running()
    assert (again, third not in {first, second}) == (instance, True)
    assert (device.heard[-1].count, device.heard[-1].more) == (2, 1)


async def test_what_is_not_wanted_any_more_ends_for_good(
    device: Device, engine: TestEngine
) -> None:
    rig = device.rig
    rig.wishes.want(wish("w", stop=GRACE))
    _, first = await device.running()
    await device.containers.settled(device.containers.waits())
    rig.wishes.want()
    await eventually(lambda: "w" in rig.reported.forgotten, "it is gone")
    await eventually(lambda: not alive(first), "its process has ended")
    await eventually(lambda: gone(engine), "and its container is removed")
    assert device.heard == []


async def test_a_new_version_takes_the_name(device: Device) -> None:
    rig = device.rig
    rig.wishes.want(wish("w", stop=GRACE))
    instance, _ = await device.running()
    await device.containers.settled(device.containers.waits())
    rig.wishes.want(wish("w", n=2, command="new", stop=GRACE))

    def is_new() -> bool:
        row = rig.rows()["w"]
        return row.phase == "running" and row.instance is not None and row.instance.id != instance

    await eventually(is_new, f"the new one runs: {rig.last('w')}")
    await device.running()
    assert device.heard == []


async def test_an_engine_that_dies_leaves_one_that_runs(device: Device, engine: TestEngine) -> None:
    """Podman's containers do not notice; Docker ends its own at its next start, and leaves them so."""
    rig = device.rig
    rig.wishes.want(wish("w", stop=GRACE))
    await device.running()
    await device.containers.settled(device.containers.waits())
    engine.kill()
    engine.start()

    def is_so() -> bool:
        row, listed = rig.rows()["w"], containers(engine)
        if row.instance is None or row.instance.identity is None or row.phase != "running":
            return False
        status, identity = rig.last("w"), row.instance.identity
        is_told = status is not None and status.pid == identity.pid
        return is_told and device.containers.lives(identity) and listed == {NAME: row.instance.id}

    await eventually(is_so, f"one runs: {rig.last('w')}", 60.0)
    before = rig.last("w")
    assert before is not None
    _, pid = await device.running()
    os.kill(pid, signal.SIGKILL)
    await device.counts(before.restarts + 1)
    await eventually(is_so, f"one runs: {rig.last('w')}")


def containers(engine: TestEngine) -> dict[str, str]:
    """The instances by the names of their containers."""
    answer = ask(engine.socket, "GET", "/v1.40/containers/json?all=1")[1]
    return {
        one["Names"][0].lstrip("/"): one["Labels"].get("io.skerry.instance", "")
        for one in json.loads(answer)
    }


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it is gone, or goes while it is looked at
        return False
