"""What is said when there is no container engine, or nothing to load into it."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from aiohttp import web
from msgspec.structs import astuple

from skerry.kit.bell import Bell
from skerry.kit.clock import SystemClock
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.node.cyberwave.engine import EngineQuestions
from skerry.node.ports import StoredInstance
from skerry.node.workloads.runtimes.containers.creation import Findings, creation
from skerry.node.workloads.runtimes.containers.engine import Engine, EngineGone
from skerry.node.workloads.runtimes.containers.images import Images, Voice
from skerry.node.workloads.runtimes.containers.networks import gateway
from skerry.node.workloads.runtimes.engine_look import EngineLook, look_for_engine
from skerry.node.workloads.runtimes.identity import identify
from skerry.testing.container_device import ContainerDevice
from skerry.wire.records import Meta
from skerry.wire.workload import Assignment


async def _tell(_name: str, _value: str, _meta: Meta) -> None:
    """Nobody listens."""


def _note(_assignment: Assignment, _line: str) -> None:
    """Nobody reads."""


async def test_without_an_engine_it_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    engine = Engine([tmp_path / "docker.sock"])
    with pytest.raises(EngineGone, match=r"engine at .*docker.sock: nothing is there\. Install"):
        await engine.listed("a=b")
    await engine.close()


@pytest.mark.parametrize(
    ("answer", "look"),
    [
        (
            b'HTTP/1.0 200 OK\r\n\r\n{"Version":"20.10.24","ApiVersion":"1.41","Components":[{"Name":"Engine"}]}',
            EngineLook("Docker 20.10.24 (API 1.41) at SOCKET"),
        ),
        (
            b'HTTP/1.0 200 OK\r\n\r\n{"Version":"4.3.1","ApiVersion":"1.41","Components":[{"Name":"Podman Engine"}]}',
            EngineLook("Podman 4.3.1 (API 1.41) at SOCKET"),
        ),
        (b"220 mail ESMTP\r\n", EngineLook(missing="SOCKET answers what no engine would: «220 mail ESMTP»")),
        (None, EngineLook(missing="SOCKET does not answer within 0.1 s")),
    ],
)  # fmt: skip
async def test_the_doctor_names_the_engine(
    short_dir: Path, answer: bytes | None, look: EngineLook
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (reader.readline() if answer else reader.read())
        writer.write(answer or b"")
        writer.close()

    socket = short_dir / "engine.sock"
    assert await look_for_engine([socket]) == EngineLook(missing=f"nothing is at {socket}")
    server = await asyncio.start_unix_server(serve, socket)
    found = await look_for_engine([short_dir / "none", socket], 5.0 if answer else 0.1)
    server.close()
    await server.wait_closed()
    assert EngineLook(*(part.replace(str(socket), "SOCKET") for part in astuple(found))) == look
    socket.unlink()
    socket.write_bytes(b"")
    refused = await look_for_engine([socket])
    assert refused.missing == f"{socket} does not answer: Connection refused"


async def _no_credentials(_image: str, _users: object) -> None:
    return None


async def test_a_file_that_is_not_there_is_the_files_fault(tmp_path: Path) -> None:
    engine = Engine([tmp_path / "docker.sock"])
    images = Images(
        engine, Voice(_note, _tell), _no_credentials, Bell(), SystemClock(), random.Random(1)
    )
    with pytest.raises(InvalidInput, match=r"cannot read .*/nope.tar: No such file"):
        await images.load(tmp_path / "nope.tar")
    for name, make in (("fifo", os.mkfifo), ("directory", os.mkdir)):
        make(tmp_path / name)
        with pytest.raises(InvalidInput, match=rf"cannot load .*/{name}: it is no regular file"):
            await images.load(tmp_path / name)


async def test_what_an_engine_that_hangs_halfway_may_run_counts_as_running(short_dir: Path) -> None:
    """It lists a container and never tells more: the container must not be started again."""
    device = ContainerDevice(short_dir, short_dir / "engine.sock", "none")
    launch = device.launch("true")
    labels = creation(device.owner, launch, Findings())["Labels"]
    answers = {
        "/version": {"ApiVersion": "1.41"},
        "/v1.41/info": {"Runtimes": {}},
        "/v1.41/containers/json": [{"Id": "c1", "Labels": labels, "State": "running"}],
    }

    async def answer(request: web.Request) -> web.Response:
        if request.path not in answers:
            await asyncio.Event().wait()
        return web.json_response(answers[request.path])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(device.socket)).start()
    runtime = device.agent((60.0, 0.2))
    lives = identify(os.getpid(), device.clock.boot_id())
    assert await runtime.connect(lambda _: None) == []
    assert f"{device.socket}: it hangs" in runtime.problem
    adopted = await runtime.adopt([StoredInstance(launch, lives)])
    assert [(one.instance, one.identity) for one in adopted] == [(launch.instance, lives)]
    await runtime.close()
    await runner.cleanup()


async def test_what_ends_while_podman_ends_it_is_removed_all_the_same(short_dir: Path) -> None:
    """Podman 4.3.1 answers 500 then, and the container stays."""
    told = "cannot remove container c1 as it could not be stopped: sending SIGKILL to container c1: container state improper: stopped"
    answers = [web.json_response({"message": told}, status=500), web.Response(status=204)]

    async def answer(request: web.Request) -> web.Response:
        if request.method == "DELETE":
            return answers.pop(0)
        return web.json_response({"ApiVersion": "1.41"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(short_dir / "engine.sock")).start()
    engine = Engine([short_dir / "engine.sock"])
    await engine.remove("c1")
    assert answers == []
    await engine.close()
    await runner.cleanup()


class Asked:
    """What drivers and workers ask, at a real connection to an engine that answers everything with one status; None: never."""

    def __init__(self, directory: Path, status: int | None) -> None:
        self.status = status
        self.socket = directory / "engine.sock"
        self.engine = Engine([self.socket])
        voice = Voice(_note, _tell)
        self.images = Images(
            self.engine, voice, _no_credentials, Bell(), SystemClock(), random.Random(1)
        )

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/version":
            return web.json_response({"ApiVersion": "1.41"})
        if self.status is None:
            await asyncio.Event().wait()
        return web.json_response({"message": "the engine has trouble"}, status=self.status or 500)

    async def gateway(self, network: str) -> str:
        return await gateway(self.engine, network)

    async def has_gpus(self) -> bool:
        return await self.images.has_gpus()


async def _no_credentials(_image: str, _users: Sequence[Assignment]) -> str | None:
    return None


@contextlib.asynccontextmanager
async def asked(directory: Path, status: int | None) -> AsyncIterator[Asked]:
    found = Asked(directory, status)
    app = web.Application()
    app.router.add_get("/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(found.socket)).start()
    yield found
    await found.engine.close()
    await runner.cleanup()


@pytest.mark.parametrize("status", [500, 503, 403])
async def test_an_engine_in_trouble_says_nothing_about_gpus_and_networks(
    short_dir: Path, status: int
) -> None:
    async with asked(short_dir, status) as engine:
        with pytest.raises(Transient, match="GPUs: the engine has trouble"):
            await engine.has_gpus()
        with pytest.raises(Transient, match="«bridge» is made: the engine has trouble"):
            await engine.gateway("")
        engine.status = 404
        with pytest.raises(Refused, match="no network «robots»"):
            await engine.gateway("robots")


async def test_an_agent_that_starts_does_not_wait_for_an_engine_that_hangs(
    short_dir: Path,
) -> None:
    async with asked(short_dir, None) as engine:
        questions = EngineQuestions(engine, patience=0.05)
        with pytest.raises(Transient, match=r"has not answered for 0\.05 s"):
            await questions.has_gpus()
        with pytest.raises(Transient, match="has not answered"):
            await questions.gateway("bridge")
        questions.patience = None
        with pytest.raises(Transient, match="has not answered"):
            await questions.gateway("bridge")
        assert await questions.gateway("host") == "127.0.0.1"
