"""Containers whose contract fixes their name, on each engine: predecessors, other people's containers, what else it sets."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.engines import IMAGE, TestEngine, ask

from skerry.kit.errors import Refused, Transient
from skerry.node.ports import ContainerExtras, ContainerLaunch
from skerry.node.workloads.runtimes.containers.creation import Findings, creation
from skerry.node.workloads.runtimes.containers.engine import Engine
from skerry.testing.container_device import ContainerDevice
from skerry.testing.exits import Exits
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit, Resources

pytestmark = pytest.mark.timeout(120)  # the first test starts the engines

NAME = "cyberwave-driver-0a1b2c3d"

TELLS = """
import os, resource, socket
first = open("/proc/1/cmdline").read().split("\\0")[0]
print(socket.gethostname(), os.environ["A"], resource.getrlimit(resource.RLIMIT_NOFILE)[0], os.path.ismount("/fast"),
      os.getpid() == 1, flush=True)
"""


@pytest.fixture
async def device(engine: TestEngine, short_dir: Path) -> AsyncIterator[ContainerDevice]:
    containers = ContainerDevice(short_dir, engine.socket, IMAGE)
    yield containers
    await containers.end()


def named(launch: ContainerLaunch, **extras: Any) -> ContainerLaunch:
    return replace(launch, extras=ContainerExtras(name=NAME, **extras))


def has(engine: TestEngine, name: str) -> dict[str, Any] | None:
    status, answer = ask(engine.socket, "GET", f"/v1.40/containers/{name}/json")
    return json.loads(answer) if status == 200 else None


def instance_of(engine: TestEngine, name: str) -> str | None:
    found = has(engine, name)
    return None if found is None else found["Config"]["Labels"].get("io.skerry.instance")


async def test_a_successor_starts_before_the_old_one_was_acknowledged(
    device: ContainerDevice, engine: TestEngine
) -> None:
    runtime, exits = device.agent(), Exits()
    await runtime.connect(exits)
    old = named(device.ends(Exit(3, None, 0)))
    await runtime.start(old)
    assert (await exits.of(old.instance)).code == 3
    new = named(device.waits())
    identity = await runtime.start(new)
    assert device.lives(identity)
    assert instance_of(engine, NAME) == new.instance
    assert instance_of(engine, f"{NAME}-{old.instance}") == old.instance
    await runtime.acknowledge(old.instance)
    assert has(engine, f"{NAME}-{old.instance}") is None
    assert device.lives(identity)
    assert instance_of(engine, NAME) == new.instance


async def test_a_successor_waits_for_one_that_still_runs(
    device: ContainerDevice, engine: TestEngine
) -> None:
    runtime, exits = device.agent(), Exits()
    await runtime.connect(exits)
    old, new = named(device.waits()), named(device.waits())
    before = await runtime.start(old)
    with pytest.raises(Transient, match=f"the container «{NAME}» of its predecessor has not ended"):
        await runtime.start(new)
    assert device.lives(before)
    await runtime.signal(old.instance, "SIGKILL")
    await exits.of(old.instance)
    await runtime.start(new)
    assert instance_of(engine, NAME) == new.instance


async def test_somebody_elses_container_is_never_touched(
    device: ContainerDevice, engine: TestEngine
) -> None:
    client = Engine([engine.socket])
    body = {"Image": IMAGE, "Cmd": ["python3", "-c", ""], "HostConfig": {"NetworkMode": "host"}}
    foreign = await client.create(NAME, body)
    await client.close()
    runtime = device.agent()
    await runtime.connect(Exits())
    words = f"cannot start workload «w»: container {foreign[:12]} of somebody else has the name «{NAME}». Rename or remove it"
    with pytest.raises(Refused, match=f"^{words}"):
        await runtime.start(named(device.waits()))
    longer = named(device.waits(), otherwise=f"{NAME}-1111")
    await runtime.start(longer)
    found = has(engine, NAME)
    assert found is not None
    assert found["Id"] == foreign
    assert instance_of(engine, f"{NAME}-1111") == longer.instance


async def test_another_nodes_container_is_somebody_elses(
    device: ContainerDevice, engine: TestEngine
) -> None:
    client, launch = Engine([engine.socket]), named(device.waits())
    other = await client.create(NAME, creation("another mark", launch, Findings()))
    await client.close()
    runtime = device.agent()
    await runtime.connect(Exits())
    with pytest.raises(Refused, match="of somebody else has the name"):
        await runtime.start(launch)
    found = has(engine, NAME)
    assert found is not None
    assert found["Id"] == other


async def test_what_an_earlier_agent_has_made_is_taken_or_made_anew(
    device: ContainerDevice, engine: TestEngine
) -> None:
    client, launch = Engine([engine.socket]), named(device.waits())
    runtime = device.agent()
    await runtime.connect(Exits())
    own = await client.create(NAME, creation(device.owner, launch, Findings()))
    await runtime.start(launch)
    found = has(engine, NAME)
    assert found is not None
    assert found["Id"] == own
    await runtime.signal(launch.instance, "SIGKILL")
    await eventually(lambda: not runtime.container(launch.instance), "it has ended")
    await runtime.acknowledge(launch.instance)
    forgotten = named(device.waits())
    left = await client.create(NAME, creation(device.owner, forgotten, Findings()))
    await runtime.start(named(device.waits()))
    found = has(engine, NAME)
    assert found is not None
    assert found["Id"] != left
    await client.close()


async def test_what_its_contract_sets_holds_inside(
    device: ContainerDevice, engine: TestEngine
) -> None:
    more = {
        "Init": True,
        "Tmpfs": {"/fast": "size=1m"},
        "Ulimits": [  # where root may not raise a limit, Podman has to be told this one
            {"Name": "nofile", "Soft": 77, "Hard": 77},
            {"Name": "nproc", "Soft": 1024, "Hard": 1024},
        ],
        "RestartPolicy": {"Name": "no"},
    }
    launch = device.launch(
        "python3", "-c", TELLS, network="none", resources=Resources(open_files=500)
    )
    launch = replace(
        named(launch, host=more, config={"StopTimeout": 5, "Hostname": "arm"}),
        environment={"A": "from the contract"},
    )
    runtime, exits = device.agent(), Exits()
    await runtime.connect(exits)
    await runtime.start(launch)
    assert (await exits.of(launch.instance)).ok
    told = "arm from the contract 77 True"
    await eventually(lambda: told in device.log_text(), f"it is so: {device.log_text()}")
    found = has(engine, NAME)
    assert found is not None
    assert found["Config"]["StopTimeout"] == 5
