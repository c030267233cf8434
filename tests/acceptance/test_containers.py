"""A container lives as a process does: published values, agent's death, crash, limits, logs, missing images."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.command_line import CommandLine
from tests.container_site import (
    PYTHON_ENV,
    WAITS,
    another,
    box,
    gone,
    log_of,
    of_image,
    says,
    state,
    with_engine,
)
from tests.engines import IMAGE, TestEngine, ask, image_archive, saved_as
from tests.installation import installation
from tests.registry import registry

from skerry.cli.http import node_api
from skerry.node.workloads.runtimes.containers.engine import Engine
from skerry.testing.waiting import eventually
from skerry.wire.local import StopRequest
from skerry.wire.workload import ContainerSpec, Resources, Restart

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
        await eventually(lambda: node.runs("box"), f"it runs; {node.log.read_text()}")
        await eventually(lambda: site.hub.has("box.value", 1), "its value is at the hub")
        assert {row.source for row in await site.hub.rows("box.value")} == {"box"}
        before = (await node.pids())["box"]
        await node.kill()
        await node.start()
        await node.ready()
        await eventually(lambda: node.runs("box"), "the next agent has it")
        assert (await node.pids())["box"] == before
        log = node.directory / "logs/box/current.log"
        os.kill(before, signal.SIGUSR1)
        await eventually(
            lambda: "my token is" in log_of(node, "box"), "the next agent has its output"
        )
        assert "stdout F my token is ***\n" in log.read_text()
        os.kill(before, signal.SIGKILL)
        await eventually(partial(another, node, "box", before), "it runs again")
        await eventually(lambda: site.hub.has("box.value", 2), "and has published again")
        await eventually(lambda: log.read_text().count("published 200\n") >= 2, "both have printed")
        assert log.read_text().count("stdout F container box begins\n") == 2
        await site.hub.apply(prune=True)
        await eventually(partial(gone, engine), "nothing is left of it")


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
        await eventually(lambda: node.runs("box"), f"the other one runs; {node.log.read_text()}")
        await eventually(
            partial(
                says,
                node,
                "cam",
                "cannot start workload «cam»: image 127.0.0.1:1/acme/cam:2 is not on this node and the registry did not answer (",
            ),
            "it says why",
        )
        assert "skerry image load FILE" in (node.directory / "logs/cam/current.log").read_text()
        archive = short_dir / "cam.tar"
        archive.write_bytes(saved_as(engine.socket, lost.image))
        shell = CommandLine(site)
        loaded = await shell.run("image", "load", str(archive), "--data-dir", str(node.directory))
        assert (loaded.code, lost.image in loaded.out) == (0, True), loaded
        await eventually(partial(says, node, "cam", "code 0"), "it runs as soon as it can")


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
        await eventually(partial(says, node, "seven", "code 7"), "the code is told")
        await eventually(partial(says, node, "bomb", "signal 9"), "the bomb was ended")


async def test_what_is_not_ours_is_as_it_was(short_dir: Path, engine: TestEngine) -> None:
    body = {"Image": IMAGE, "Cmd": list(WAITS), "HostConfig": {"NetworkMode": "host"}}
    posts = [
        ("/v1.40/containers/create?name=foreign", body),
        ("/v1.40/containers/foreign/start", {}),
        ("/v1.40/containers/create?name=skerry-box-looks-like-ours", body),
        ("/v1.40/volumes/create", {"Name": "foreign"}),
        ("/v1.40/networks/create", {"Name": "foreign", "Driver": "bridge"}),
        (f"/v1.40/images/{IMAGE}/tag?repo=foreign&tag=1", {}),
    ]
    for target, wish in posts:
        status, answer = ask(engine.socket, "POST", target, json.dumps(wish).encode())
        assert status < 400, (target, answer)
    before = foreign(engine)
    try:
        async with installation(short_dir) as site:
            node = with_engine(site.node(), engine)
            await node.enrol(site.hub)
            spec = box("box", *WAITS)
            await site.hub.apply(spec, box("other", *WAITS))
            await node.start()
            await eventually(lambda: node.runs("box", "other"), node.log.read_text())
            pid = (await node.pids())["box"]
            await site.hub.apply(msgspec.structs.replace(spec, env={"A": "1"}))
            await eventually(partial(another, node, "box", pid), "it was replaced")
            os.kill((await node.pids())["box"], signal.SIGKILL)
            await site.hub.apply(spec, prune=True)
            await eventually(partial(gone, engine, 3), "the other one is gone")
            await node.kill()
            await node.start()
            await node.ready()
            await eventually(lambda: node.runs("box"), "the next agent has it")
            async with node_api(node.directory) as api:
                await api.order("POST", "/v1/stop", StopRequest(workloads=True))
            await eventually(partial(gone, engine, 2), "nothing of ours is left")
        assert foreign(engine) == before
    finally:
        for target in ("volumes/foreign", "networks/foreign", "images/foreign:1"):
            ask(engine.socket, "DELETE", f"/v1.40/{target}")


def foreign(engine: TestEngine) -> dict[str, list[str]]:
    """Whatever the engine has, by what it says of its identity and state."""
    said = {
        "containers/json?all=1": ("Id", "Names", "Image", "State", "Labels", "Created"),
        "images/json?all=1": ("Id", "RepoTags"),
        "networks": ("Id", "Name", "Driver"),
    }
    found = {}
    for target, fields in said.items():
        every = json.loads(ask(engine.socket, "GET", f"/v1.40/{target}")[1])
        found[target] = sorted(str([one.get(field) for field in fields]) for one in every)
    volumes = json.loads(ask(engine.socket, "GET", "/v1.40/volumes")[1])["Volumes"] or []
    return found | {"volumes": sorted(one["Name"] for one in volumes)}


async def test_the_health_check_of_an_image_is_its_readiness(
    short_dir: Path, docker_engine: TestEngine
) -> None:
    """Podman runs health checks by systemd, which the tests do not have."""
    check = "import os, sys; sys.exit(not os.path.exists('/tmp/fine'))"
    health = {
        "Test": ["CMD", "python3", "-c", check],
        "Interval": 300_000_000,
        "Timeout": 5_000_000_000,
        "Retries": 1,
    }
    with registry() as source:
        config = {"Env": PYTHON_ENV, "Healthcheck": health}
        image = source.add("acme/health:1", [image_archive()], config)
        async with installation(short_dir) as site:
            node = with_engine(site.node(), docker_engine)
            await node.enrol(site.hub)
            waiter = box("after", *WAITS, depends_on={"box": "ready"})
            await site.hub.apply(box("box", container=of_image(image)), waiter)
            await node.start()
            unhealthy = "not ready: its health check says unhealthy"
            await eventually(partial(says, node, "box", unhealthy), "its check fails", 60)
            assert not await node.runs("after")
            await inside(docker_engine, "box", "open('/tmp/fine', 'w')")
            await eventually(lambda: node.runs("after"), "it is ready")
            found = await state(node, "box")
            assert found is not None
            assert found.ready
            await inside(docker_engine, "box", "import os; os.remove('/tmp/fine')")
            await eventually(partial(says, node, "box", unhealthy), "and ready no more")
    ask(docker_engine.socket, "DELETE", f"/v1.40/images/{image}?force=1")


async def inside(engine: TestEngine, workload: str, script: str) -> None:
    """Runs a script in the workload's container."""
    client = Engine([engine.socket])
    (one,) = await client.listed(f"io.skerry.workload={workload}")
    assert await client.execute(one.id, ["python3", "-c", script]) == 0
    await client.close()
