"""The hub's image: built by its recipe from packages alone, healthy, with a node; another container has what its volume kept."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.engines import TestEngine, running
from tests.installation import Hub, Node, sleeper

from skerry.node.identity import read_identity
from skerry.testing.waiting import eventually
from skerry.wire.records import PublishedRecord

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]


class Docker:
    """The command line of an engine of our own."""

    def __init__(self, engine: TestEngine) -> None:
        self.command = f"docker --host unix://{engine.socket}"

    def run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [*self.command.split(), *words], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout.strip()

    def build(self, tag: str) -> None:
        """As docs/operate/install.md says, where images cannot be fetched."""
        self.run(
            "build", "--network", "host", "--build-arg", "BASE=skerry-base",
            "--label", f"release={tag}", "-f", "deploy/Dockerfile", "-t", f"skerry-hub:{tag}", ".",
        )  # fmt: skip

    def is_healthy(self, name: str) -> bool:
        state = self.run("inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", name)
        assert state.startswith("running"), self.run("logs", name)
        return state == "running healthy"


@pytest.fixture
def docker() -> Iterator[Docker]:
    with running("docker") as engine:
        found = Docker(engine)
        environment = {**os.environ, "DOCKER": found.command}
        subprocess.run([ROOT / "deploy" / "base"], env=environment, check=True)
        yield found


async def start(docker: Docker, tag: str, hub: Hub, settings: Path) -> None:
    """A container of that release on the volume «hub»; returns when it is healthy."""
    docker.run(
        "run", "--detach", "--name", tag, "--network", "host", "--health-interval", "1s",
        "--env", f"SKERRY_HUB_NODES_LISTEN=127.0.0.1:{hub.nodes_port}",
        "--volume", "hub:/var/lib/skerry/hub", "--volume", f"{settings}:/etc/skerry/hub.yaml:ro",
        f"skerry-hub:{tag}", "--listen", f"127.0.0.1:{hub.port}",
    )  # fmt: skip
    await eventually(partial(docker.is_healthy, tag), "the image finds it healthy", 120)


async def publish(node: Node, value: int) -> None:
    record = PublishedRecord("t.value", value)
    await asyncio.to_thread(node.publisher("feeder").publish, "measurement", [record], 30.0)


async def test_a_hub_in_a_container_keeps_its_fleet_over_an_upgrade(
    short_dir: Path, docker: Docker
) -> None:
    docker.build("one")
    settings = short_dir / "hub.yaml"
    settings.write_text("data_dir: /var/lib/skerry/hub\n")
    settings.chmod(0o644)
    hub = Hub(short_dir)  # where the container is
    await start(docker, "one", hub, settings)
    assert docker.run("exec", "one", "id", "-u") == "8600"
    modes = docker.run("exec", "one", "sh", "-c", "stat -c %a /var/lib/skerry/hub/trust/*.key")
    assert set(modes.split()) == {"600"}
    hub.directory.mkdir()
    token = docker.run("exec", "one", "cat", "/var/lib/skerry/hub/admin.token")
    (hub.directory / "admin.token").write_text(token)
    node = Node(short_dir, "n1", hub.nodes_url)
    try:
        await node.enrol(hub)
        await hub.apply(sleeper("feeder"))
        await node.start()
        await eventually(partial(node.runs, "feeder"), f"it works; {node.log}", 60)
        await publish(node, 1)
        await eventually(lambda: hub.has("t.value", 1), "the value is there", 60)
        who = read_identity(node.directory)
        docker.run("rm", "--force", "one")
        await publish(node, 2)
        docker.build("two")
        docker.run("image", "rm", "skerry-hub:one")
        await start(docker, "two", hub, settings)
        await eventually(partial(node.link_is, "online"), "the node is back by itself", 60)
        await eventually(lambda: hub.has("t.value", 2), "what was published meanwhile is there", 60)
        assert sorted(row.value for row in await hub.rows("t.value")) == [1, 2]
        assert read_identity(node.directory) == who
        docker.run("stop", "two")
        assert docker.run("inspect", "--format", "{{.State.ExitCode}}", "two") == "0"
        docker.run("rm", "two")
        assert docker.run("volume", "ls", "--quiet") == "hub"
    finally:
        if node.process.runs:
            await node.kill()
        node.clean()
