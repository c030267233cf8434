"""A container lives as a process does: published values, agent's death, crash, limits, logs, missing images."""

import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.command_line import CommandLine
from tests.engines import IMAGE, NAMES, TestEngine, ask, remove_containers, saved_as
from tests.installation import Node, installation

from skerry.testing.waiting import eventually
from skerry.wire.workload import ContainerSpec, Resources, Restart, Stop, WorkloadSpec

pytestmark = pytest.mark.timeout(180)

PUBLISHER = """
import http.client, json, os, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGUSR1, lambda *_: print("my token is", os.environ["API_TOKEN"], flush=True))
class Door(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["SKERRY_SOCKET"])
print("container", os.environ["SKERRY_WORKLOAD"], "begins", flush=True)
record = {"name": "box.value", "value": 42, "at": time.time_ns()}
body = {"session": "%032x" % time.time_ns(), "first": 1, "kind": "measurement", "records": [record]}
door = Door("node")
door.request("POST", "/v1/publish", json.dumps(body), {"Content-Type": "application/json"})
print("published", door.getresponse().status, flush=True)
while True:
    signal.pause()
"""


def box(name: str, *command: str, **fields: object) -> WorkloadSpec:
    """A container workload; `fields` are those of WorkloadSpec, `container` adds to its section."""
    inside = ContainerSpec(image=IMAGE, command=list(command), network="host")
    known: dict[str, object] = {"container": inside, "stop": Stop(grace=1.0)}
    return WorkloadSpec(name=name, runtime="container", **known | fields)  # type: ignore[arg-type]


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> Iterator[TestEngine]:
    found: TestEngine = request.getfixturevalue(f"{request.param}_engine")
    yield found
    remove_containers(found.socket)


def with_engine(node: Node, engine: TestEngine) -> Node:
    node.options += ["--set", f"containers.socket={engine.socket}"]
    return node


@pytest.mark.guarantee("G8")
@pytest.mark.guarantee("G10")
async def test_a_container_publishes_lives_through_the_agent_and_is_restarted(
    short_dir: Path, engine: TestEngine
) -> None:
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        secret = {"API_TOKEN": "secret-of-the-box"}
        await site.hub.apply(box("box", "python3", "-c", PUBLISHER, env=secret))
        await node.start()
        await eventually(lambda: node.runs("box"), f"it runs; {node.log.read_text()}", 30)
        await eventually(lambda: site.hub.has("box.value", 1), "its value is at the hub", 30)
        assert {row.source for row in await site.hub.rows("box.value")} == {"box"}
        before = (await node.pids())["box"]
        await node.kill()
        await node.start()
        await node.ready()
        await eventually(lambda: node.runs("box"), "the next agent has it", 30)
        assert (await node.pids())["box"] == before
        log = node.directory / "logs/box/current.log"
        os.kill(before, signal.SIGUSR1)
        await eventually(lambda: "my token is" in log.read_text(), "the next agent has its output")
        assert "stdout F my token is ***\n" in log.read_text()
        os.kill(before, signal.SIGKILL)
        await eventually(partial(_another, node, "box", before), "it runs again", 30)
        await eventually(lambda: site.hub.has("box.value", 2), "and has published again", 30)
        await eventually(lambda: log.read_text().count("published 200\n") >= 2, "both have printed")
        assert log.read_text().count("stdout F container box begins\n") == 2
        await site.hub.apply(prune=True)
        await eventually(partial(_gone, engine), "nothing is left of it", 30)


async def test_an_image_that_is_not_there_is_waited_for_and_named(
    short_dir: Path, engine: TestEngine
) -> None:
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        lost = ContainerSpec(image="127.0.0.1:1/acme/cam:2", command=["python3", "-c", ""])
        inside = msgspec.structs.replace(lost, network="host")
        await site.hub.apply(
            box("cam", container=inside, restart=Restart(policy="never")),
            box("box", "python3", "-c", PUBLISHER),
        )
        await node.start()
        await eventually(
            lambda: node.runs("box"), f"the other one runs; {node.log.read_text()}", 30
        )
        await eventually(
            partial(_says, node, "cam", "127.0.0.1:1/acme/cam:2 is not on this node"),
            "it says why",
            30,
        )
        assert "skerry image load FILE" in (node.directory / "logs/cam/current.log").read_text()
        archive = short_dir / "cam.tar"
        archive.write_bytes(saved_as(engine.socket, lost.image))
        shell = CommandLine(site)
        loaded = await shell.run("image", "load", str(archive), "--data-dir", str(node.directory))
        assert (loaded.code, lost.image in loaded.out) == (0, True), loaded
        await eventually(partial(_says, node, "cam", "code 0"), "it runs as soon as it can", 30)


async def test_limits_hold_and_the_reason_of_an_end_is_told(
    short_dir: Path, engine: TestEngine
) -> None:
    bomb = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        once = Restart(policy="never")
        small = Resources(memory=64 << 20)
        await site.hub.apply(
            box("bomb", "python3", "-c", bomb, resources=small, restart=once),
            box("seven", "python3", "-c", "raise SystemExit(7)", restart=once),
        )
        await node.start()
        await eventually(partial(_says, node, "seven", "code 7"), "the code is told", 30)
        await eventually(partial(_says, node, "bomb", "signal 9"), "the bomb was ended", 30)


async def test_what_is_not_ours_is_not_touched(short_dir: Path, engine: TestEngine) -> None:

    body = {"Image": IMAGE, "Cmd": ["python3", "-c", "import signal; signal.pause()"]}
    body["HostConfig"] = {"NetworkMode": "host"}
    target = "/v1.40/containers/create?name=foreign"
    _, answer = ask(engine.socket, "POST", target, json.dumps(body).encode())
    foreign = json.loads(answer)["Id"]
    ask(engine.socket, "POST", f"/v1.40/containers/{foreign}/start")
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        await site.hub.apply(box("box", "python3", "-c", PUBLISHER))
        await node.start()
        await eventually(lambda: node.runs("box"), f"it runs; {node.log.read_text()}", 30)
        await site.hub.apply(prune=True)
        await eventually(partial(_gone, engine, 1), "ours is gone", 30)
    _, state = ask(engine.socket, "GET", f"/v1.40/containers/{foreign}/json")
    assert json.loads(state)["State"]["Running"]


async def _another(node: Node, workload: str, pid: int) -> bool:
    return await node.runs(workload) and (await node.pids()).get(workload) != pid


async def _says(node: Node, workload: str, words: str) -> bool:
    status = await node.status()
    found = [one for one in status.workloads if one.workload == workload] if status else []
    return bool(found) and words in f"{found[0].message} {found[0].exit}"


def _gone(engine: TestEngine, left: int = 0) -> bool:

    return len(json.loads(ask(engine.socket, "GET", "/v1.40/containers/json?all=1")[1])) == left
