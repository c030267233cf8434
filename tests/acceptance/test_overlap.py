"""An update beside what runs, through hub and node: whoever asks the workload meanwhile always gets an answer."""

from __future__ import annotations

import asyncio
import http.client
from functools import partial
from pathlib import Path

import pytest
from tests.container_site import of_image, says, state, with_engine
from tests.engines import IMAGE, TestEngine
from tests.installation import Installation, Node, free_port, installation

from skerry.testing.waiting import eventually
from skerry.wire.workload import ProcessSpec, Ready, Stop, Update, WorkloadSpec

pytestmark = pytest.mark.timeout(120)

SERVER = """
import http.client, json, os, signal, socket, sys, threading, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", int(os.environ["PORT"])))
class Door(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["SKERRY_SOCKET"])
def publish():
    record = {"name": "web.up", "value": 1, "at": time.time_ns()}
    door = Door("node")
    body = json.dumps({"records": [record], "instance": os.environ["SKERRY_INSTANCE"]})
    door.request("POST", "/v1/publish", body, {"Content-Type": "application/json"})
    assert door.getresponse().status == 200
def end(*_):
    listener.close()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
if os.environ["VERSION"] == "bad":
    signal.pause()
listener.listen(64)
publish()
body = os.environ["VERSION"].encode()
while True:
    client, _ = listener.accept()
    client.recv(4096)
    client.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
    client.close()
"""


class Visitor:
    """Asks again and again. A connection that ends with its listener is tried anew; a refused one is a gap."""

    def __init__(self, port: int) -> None:
        self.answers: list[str] = []
        self._port = port
        self._enough = False

    async def visit(self) -> None:
        while not self._enough:
            self.answers.append(await asyncio.to_thread(self._ask))
            await asyncio.sleep(0.01)

    def leave(self) -> None:
        self._enough = True

    def got(self, version: str) -> bool:
        """Whether the last answers all come from this version."""
        return self.answers[-5:] == [version] * 5

    def _ask(self) -> str:
        for _ in range(3):
            client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
            try:
                client.request("GET", "/")
                return client.getresponse().read().decode()
            except (ConnectionResetError, http.client.RemoteDisconnected):
                continue
            finally:
                client.close()
        raise AssertionError("three connections were cut")


def web(runtime: str, port: int, version: str) -> WorkloadSpec:
    variables = {"PORT": str(port), "VERSION": version}
    native = ProcessSpec(command=["python", "-c", SERVER])
    inside = of_image(IMAGE, "python3", "-c", SERVER)
    return WorkloadSpec(
        name="web",
        runtime="process" if runtime == "process" else "container",
        process=native if runtime == "process" else None,
        container=inside if runtime == "docker" else None,
        env=variables,
        ready=Ready(value="web.up"),
        stop=Stop(grace=5.0),
        update=Update(strategy="overlap", ready_within=2.0),
    )


async def pid_of(node: Node) -> int | None:
    status = await state(node, "web")
    return status.pid if status is not None and status.ready else None


async def is_ready(node: Node) -> bool:
    return await pid_of(node) is not None


async def is_new(node: Node, before: int | None) -> bool:
    found = await state(node, "web")
    settled = found is not None and found.ready and not found.message
    return settled and await pid_of(node) != before


async def live_through(site: Installation, node: Node, runtime: str) -> None:
    port = free_port()
    await node.enrol(site.hub)
    await site.hub.apply(web(runtime, port, "1"))
    await node.start()
    await eventually(partial(is_ready, node), "the first version is ready", 40)
    first = await pid_of(node)
    visitor = Visitor(port)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(visitor.visit())
        await site.hub.apply(web(runtime, port, "bad"))
        words = "failed: not ready within 2"
        await eventually(partial(says, node, "web", words), "the bad version is given up", 40)
        assert await pid_of(node) == first
        await site.hub.apply(web(runtime, port, "3"))
        await eventually(partial(is_new, node, first), "the third version serves alone", 40)
        await eventually(partial(visitor.got, "3"), "all answers come from it")
        visitor.leave()
    assert set(visitor.answers) == {"1", "3"}


async def test_a_process_is_replaced_without_a_gap(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        await live_through(site, site.node(), "process")


async def test_a_container_is_replaced_without_a_gap(
    short_dir: Path, docker_engine: TestEngine
) -> None:
    async with installation(short_dir) as site:
        await live_through(site, with_engine(site.node(), docker_engine), "docker")
