"""A hub that lies to a node: names that lead out of its directory, orders that are none, hashes, sizes, older intent.

The hub is `FakeHub`, which says whatever it is told to; the node is a whole agent in a process of its own.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.installation import Node

from skerry.kit.disk import RealDisk
from skerry.node.identity import Identity, write_identity
from skerry.testing.fake_hub import NODE_ID, FakeHub
from skerry.testing.fake_hub_server import SECRET, serve_fake_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import encode
from skerry.wire.models import ModelFile, ModelSource, ModelSpec
from skerry.wire.secrets import SecretUse
from skerry.wire.workload import Assignment, Generation, ProcessSpec, WorkloadSpec

pytestmark = [pytest.mark.timeout(120), pytest.mark.guarantee("G9")]

OUT = "../../../out"
SLEEPER = WorkloadSpec(
    "honest", process=ProcessSpec([sys.executable, "-c", "import signal; signal.pause()"])
)


@dataclass
class Site:
    """A hub that may say anything, and the node that listens to it."""

    directory: Path
    hub: FakeHub
    node: Node

    def order(self, row_id: str, order: Assignment) -> None:
        self.hub.write("assignment", row_id, encode(order))

    async def goes_on(self) -> None:
        """The node does what is right of what it is told, and nothing of it lies outside its directory."""
        self.order("honest", Assignment("honest", Generation(1, 1), SLEEPER))
        await eventually(lambda: self.node.runs("honest"), "the honest workload runs")
        left = {path.name for path in self.directory.iterdir()}
        assert left == {"n1", "n1.log"}, left


@contextlib.asynccontextmanager
async def lied_to(directory: Path) -> AsyncIterator[Site]:
    hub = FakeHub()
    async with serve_fake_hub(hub) as port:
        url = f"http://127.0.0.1:{port}"
        node = Node(directory, "n1", url)
        node.directory.mkdir(mode=0o700)
        identity = Identity(NODE_ID, "n1", {}, url, "fake-hub")
        write_identity(node.directory, identity, SECRET, RealDisk())
        await node.start()
        try:
            await node.ready()
            yield Site(directory, hub, node)
        finally:
            await node.kill()
            node.clean()


def lying(**fields: object) -> Assignment:
    return replace(Assignment("liar", Generation(1, 1), replace(SLEEPER, name="liar")), **fields)


def with_model(name: str = "m", **fields: object) -> Assignment:
    file = replace(ModelFile("weights", "0" * 64, 3), **fields)
    return lying(models=[ModelSpec(name=name, files=[file], source=ModelSource(hub=True))])


def with_file(name: str) -> Assignment:
    file = ModelFile(name, "0" * 64, 3)
    return lying(models=[ModelSpec(name="m", files=[file], source=ModelSource(hub=True))])


LIES = {
    "a workload's name that is a way": (OUT, lying(workload=OUT, spec=replace(SLEEPER, name=OUT))),
    "a name that is a parent": ("..", lying(workload="..", spec=replace(SLEEPER, name=".."))),
    "an absolute name": ("/tmp/x", lying(workload="/tmp/x", spec=replace(SLEEPER, name="/tmp/x"))),  # noqa: S108
    "an empty name": ("", lying(workload="", spec=replace(SLEEPER, name=""))),
    "a name with an end of line": (
        "a\nb",
        lying(workload="a\nb", spec=replace(SLEEPER, name="a\nb")),
    ),
    "an order for another workload": ("liar", lying(workload="honest")),
    "a spec of another workload": ("liar", lying(spec=SLEEPER)),
    "a model's name that is a way": ("liar", with_model(name=OUT)),
    "a model that is the list of models": ("liar", with_model(name="manifest.json")),
    "a file's name that is a way": ("liar", with_file(OUT)),
    "a file that describes the others": ("liar", with_file("metadata.json")),
    "a secret's file that is a way": (
        "liar",
        lying(spec=replace(SLEEPER, name="liar", secrets=[SecretUse(name="s", file=OUT)])),
    ),
    "a hash that is none": ("liar", with_model(sha256=OUT)),
    "a size below nothing": ("liar", with_model(size=-1)),
}


@pytest.mark.parametrize("lie", LIES)
async def test_an_order_that_is_none_is_left_out_and_keeps_nothing_from_being_done(
    tmp_path: Path, lie: str
) -> None:
    async with lied_to(tmp_path) as site:
        row_id, order = LIES[lie]
        site.order(row_id, order)
        await site.goes_on()
        status = await site.node.status()
        assert status is not None
        assert [each.workload for each in status.workloads] == ["honest"]
        assert "an assignment of the hub is left out" in site.node.log.read_text()


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"workload": 7}', b'"honest"'])
async def test_an_order_that_cannot_be_read_is_left_out(tmp_path: Path, body: bytes) -> None:
    async with lied_to(tmp_path) as site:
        site.hub.write("assignment", "liar", body)
        await site.goes_on()


@pytest.mark.parametrize(
    "body",
    [
        b'{"workload": "honest", "generation": [1, 2], "spec": {"name": 7}}',
        encode(lying(generation=Generation(1, 2))),
    ],
    ids=["unreadable", "another workload's"],
)
async def test_an_order_that_is_none_does_not_end_what_runs(tmp_path: Path, body: bytes) -> None:
    """The version before stays in force and is told as such, also after a start; the next good one takes its place."""
    async with lied_to(tmp_path) as site:
        await site.goes_on()
        before = await site.node.pids()
        site.hub.write("assignment", "honest", body)

        async def told() -> bool:
            status = await site.node.status()
            messages = [each.message for each in status.workloads] if status else []
            return len(messages) == 1 and (
                "the hub's version 1.2 could not be read: " in messages[0]
                and messages[0].endswith("; version 1.1 runs on")
            )

        await eventually(told, "what is in force is told")
        assert await site.node.pids() == before
        await site.node.kill()
        await site.node.start()
        await site.node.ready()
        await eventually(told, "what is in force is told after a start")
        assert await site.node.pids() == before
        changed = replace(SLEEPER, env={"NEW": "yes"})
        site.order("honest", Assignment("honest", Generation(1, 3), changed))

        async def replaced() -> bool:
            after = await site.node.pids()
            return "honest" in after and after != before

        await eventually(replaced, "the next good version takes its place")
        assert not await told()


async def test_older_intent_is_not_acted_on(tmp_path: Path) -> None:
    async with lied_to(tmp_path) as site:
        site.order("honest", Assignment("honest", Generation(2, 5), SLEEPER))
        await eventually(lambda: site.node.runs("honest"), "it runs")
        before = await site.node.pids()
        older = replace(SLEEPER, env={"OLD": "yes"})
        site.order("honest", Assignment("honest", Generation(2, 4), older))
        await eventually(lambda: bool(site.hub.links), "its link is there")
        site.hub.links[-1].cut()
        site.order("other", lying(workload="other", spec=replace(SLEEPER, name="other")))
        await eventually(lambda: site.node.runs("other"), "what came after it was acted on")
        after = await site.node.pids()
        assert after["honest"] == before["honest"]
        environment = Path(f"/proc/{after['honest']}/environ").read_bytes()
        assert b"OLD=" not in environment


async def test_another_entity_than_the_hubs_is_not_taken(tmp_path: Path) -> None:
    """What only the node writes, and what nobody knows, does not become the hub's word."""
    async with lied_to(tmp_path) as site:
        site.hub.lies = {"node", "no-such-entity"}
        site.hub.write("node", NODE_ID, b'{"name": "liar"}')
        site.hub.write("no-such-entity", OUT, b"{}")
        await site.goes_on()
        rows = sqlite3.connect(site.node.directory / "node.db").execute(
            "SELECT body FROM state WHERE entity = 'node'"
        )
        assert [b"liar" in body for (body,) in rows] == [False]
