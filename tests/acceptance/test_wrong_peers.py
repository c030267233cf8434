"""Whoever should not be there: noise at every port and socket, bad tokens, names that nobody has, a hub that is none."""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from tests.command_line import CommandLine, Ended
from tests.installation import Installation, Node, installation, sleeper
from tests.ports import free_port

from skerry.node.sync.connections import open_session
from skerry.testing.waiting import eventually
from skerry.wire.people import NodeView, TokenReply, TokenRequest
from skerry.wire.records import PublishedRecord

pytestmark = pytest.mark.timeout(120)

Door = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

NOISE = random.Random(5).randbytes(300_000)
POST = b"POST /v1/publish HTTP/1.1\r\nHost: x\r\n"
REQUESTS = {
    "noise": NOISE,
    "zeros": bytes(5000),
    "TLS": bytes.fromhex("16030100f1010000ed0303") + NOISE[:230],
    "endless line": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    "negative length": POST + b"Content-Length: -5\r\n\r\nabc",
    "broken chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\nabc\r\n",
    "body of noise": POST + b"Connection: close\r\nContent-Length: 500\r\n\r\n" + NOISE[:500],
    "compressed noise": POST + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 500\r\n\r\n" + NOISE[:500],
    "strange path": b"GET /v1/logs/%00%ff..%2f?since=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}  # fmt: skip
KEEPER_MESSAGES = {
    NOISE[:1000]: b"error=malformed",
    NOISE[:100_000]: b"error=malformed",
    b"op=list": b"must end with NUL",
    b"op=list\0id=1\0": b"\xc2\xabhello\xc2\xbb comes first",
    b"op=hello\0id=1\0version=2\0": b"error=busy",
    b"op=hello\0id=1\0version=99\0": b"this keeper speaks version 2",
    b"op=format\0id=1\0": b"the operation \xc2\xabformat\xc2\xbb is unknown",
    b"body=memfd\0": b"error=malformed",
}


async def publish(node: Node, value: int) -> None:
    record = PublishedRecord("t.value", value, value)
    await asyncio.to_thread(node.publisher("feeder").publish, "measurement", [record], 10.0)


async def token_of(site: Installation, ttl: float = 3600.0) -> TokenReply:
    async with site.hub.api() as api:
        return await api.send("POST", "/api/v1/tokens", TokenRequest(ttl), TokenReply)


@pytest.mark.guarantee("G9")
async def test_noise_at_every_port_and_socket(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site, contextlib.AsyncExitStack() as idlers:
        node = site.node()
        port = free_port()
        node.options += ["--set", f"api.port={port}"]
        await node.enrol(site.hub)
        await site.hub.apply(sleeper("feeder"))
        await node.start()
        await eventually(lambda: node.runs("feeder"), "the feeder runs")
        run = node.directory / "run"
        doors: list[Door] = [
            partial(asyncio.open_connection, "127.0.0.1", site.hub.port),
            partial(asyncio.open_connection, "127.0.0.1", port),
            partial(asyncio.open_unix_connection, run / "admin.sock"),
            partial(asyncio.open_unix_connection, run / "w" / "feeder" / "sock"),
        ]
        before = await node.status()
        assert before is not None
        await eventually(lambda: node.link_is("online"), "the node is online")
        logged = len(node.log.read_bytes()) + len(site.hub.process.log.read_bytes())
        for door in doors:
            for _ in range(20):  # who says nothing, or never ends, holds nobody up
                await idle(idlers, door, b"")
                await idle(idlers, door, POST + b"Content-Length: 1000\r\n\r\nabc")
            for name, request in REQUESTS.items():
                answer = await ask(door, request)
                assert answer[9:12] in {b"400", b"404", b"421", b""}, (name, answer[:300])
                assert answer or name in {"noise", "endless line"}, name
        for message, words in KEEPER_MESSAGES.items():
            assert words in await asyncio.to_thread(ask_keeper, run / "keeper.sock", message)
        await live_link_of_noise(site, node)
        after = await node.status()
        assert after is not None
        assert (after.keeper_pid, after.workloads) == (before.keeper_pid, before.workloads)
        await publish(node, 1)
        await eventually(lambda: site.hub.has("t.value", 1), "the value arrives")
        await eventually(lambda: node.link_is("online"), "the node is online")
        logs = node.log.read_text() + site.hub.process.log.read_text()
        assert "Traceback" not in logs
        assert len(logs.encode()) - logged < 10_000, "strangers do not fill the logs"


async def idle(idlers: contextlib.AsyncExitStack, door: Door, data: bytes) -> None:
    _, writer = await door()
    idlers.callback(writer.close)
    writer.write(data)


async def ask(door: Door, request: bytes) -> bytes:
    """The answer up to the end of the connection; nothing when it was reset over what was still unread."""
    reader, writer = await door()
    writer.write(request)
    try:
        async with asyncio.timeout(30):
            return await reader.read()
    except (ConnectionResetError, BrokenPipeError):
        return b""
    finally:
        writer.close()


def ask_keeper(path: Path, message: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.settimeout(10)
        door.connect(str(path))
        door.send(message)
        return door.recv(1000)


async def live_link_of_noise(site: Installation, node: Node) -> None:
    """Somebody with the node's own secret talks nonsense on its live link, in place of the node."""
    async with (
        open_session(tls=node.tls()) as session,
        session.ws_connect(f"{site.hub.nodes_url}/sync/v1/link") as link,
    ):
        await link.send_bytes(NOISE[:1000])
        await link.send_str('{"type": "close", "channel": "x"}')
        async with asyncio.timeout(30):
            while not (await link.receive()).type & 0x100:  # CLOSE, CLOSING, CLOSED
                pass


@pytest.mark.guarantee("G9")
async def test_tokens_that_enrol_nobody(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        shell = CommandLine(site)
        used, short, good = [await token_of(site, ttl) for ttl in (3600.0, 1.0, 3600.0)]

        async def enrol(token: str, name: str) -> tuple[int, str]:
            words = (
                "--hub",
                site.hub.nodes_url,
                "--name",
                name,
                "--data-dir",
                str(tidy_dir / name),
            )
            ended = await shell.run("node", "enroll", *words, stdin=token.encode())
            return ended.code, ended.err

        assert await enrol(used.token, "n1") == (0, "")
        await eventually(lambda: time.time_ns() > short.expires_at, "the short token has expired")
        refusal = "skerry: cannot enrol: the token is unknown, used or expired. Create a new one on the hub: skerry token create\n"
        fingerprint = good.token.partition(".")[2]
        nothing = "skerry: cannot enrol: what was given holds no token, which is one word. Make one: skerry token create\n"
        cases = {
            used.token: refusal,
            short.token: refusal,
            f"guess.{fingerprint}": refusal,
            "guess": "skerry: cannot enrol: the token names no root, and",
            "": nothing,
            "a b": nothing,
        }
        answers = await asyncio.gather(*(enrol(token, f"x{n}") for n, token in enumerate(cases)))
        for (_, words), expected in zip(answers, cases.values(), strict=True):
            assert words.startswith(expected)
        assert {code for code, _ in answers} == {1, 2}
        assert await enrol(good.token, "n2") == (0, "")
        async with site.hub.api() as api:
            nodes = await api.get("/api/v1/nodes", list[NodeView])
        assert sorted(each.name for each in nodes) == ["n1", "n2"]


async def test_names_that_nobody_has(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        await site.started(sleeper("camera"))
        shell = CommandLine(site)
        cases = {
            ("restart", "workload", "camra"): (1, "cannot restart workload «camra»: it does not exist; did you mean «camera»?"),
            ("delete", "workload", "radar"): (1, "cannot delete workload «radar»: it does not exist; known are: camera"),
            ("logs", "camera", "--node", "n7"): (1, "cannot read logs of «camera»: there is no node «n7»"),
            ("get", "nodes", "n7"): (1, "cannot find node «n7»: known are: n1"),
            ("get", "workload"): (2, "No such command 'workload'. Did you mean 'workloads'?"),
            ("config", "explain", "api.prt"): (2, "unknown setting «api.prt»: did you mean «api.port»?"),
            ("get", "nodes", "--context", "lab"): (2, "unknown context «lab»: known are: default, test"),
        }  # fmt: skip
        answers = await asyncio.gather(*(shell.run(*words) for words in cases))
        for answer, (code, sentence) in zip(answers, cases.values(), strict=True):
            assert (answer.code, answer.out, answer.err) == (code, "", f"skerry: {sentence}\n")


def http(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        status.encode(),
        len(body),
        body,
    )


NO_HUBS = {
    "a web page": (http("200 OK", b"<html>Welcome to nginx!</html>"), "JSON is malformed"),
    "an error": (http("500 Internal Server Error", b"<h1>oops</h1>"), "answered 500, as no Skerry hub does"),
    "nowhere": (http("404 Not Found", b"nothing here"), "answered 404, as no Skerry hub does"),
    "a login": (http("302 Found", b""), "answered 302, as no Skerry hub does"),
    "other JSON": (http("200 OK", b'{"hello": ["world"]}'), "Object missing required field"),
    "noise": (NOISE[:2000], "it answers something else than HTTP"),
    "silence": (b"", "connection closed without an answer"),
}  # fmt: skip


@contextlib.asynccontextmanager
async def server_saying(answer: bytes) -> AsyncIterator[str]:
    """Something at an address that gives everybody the same answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.guarantee("G5")
async def test_a_hub_that_is_none(tidy_dir: Path) -> None:
    async with installation(tidy_dir, "nodes: {method: secret}\n") as site:
        shell = CommandLine(site)
        node = await site.started(sleeper("feeder"), sleeper("steady"))
        pids = await node.pids()
        token = (await token_of(site)).token
        for value, (name, (answer, words)) in enumerate(NO_HUBS.items()):
            async with server_saying(answer) as url:
                assert await node.process.end() == 0
                node = site.node(url=url)
                await node.start()
                enrolled = await enrol_second(shell, url, token)
                assert enrolled.code > 0
                assert words in enrolled.err
                await node.ready()
                await eventually(partial(blames, node, words), f"the node sees {name}")
                await publish(node, value)
                assert await node.pids() == pids
                if name == "a web page":
                    asked = await shell.run("get", "nodes", "--hub", url, "--token-file", str(site.hub.directory / "admin.token"))  # fmt: skip
                    assert (asked.code, "Is it Skerry that answers there?" in asked.err) == (
                        2,
                        True,
                    )
        assert await node.process.end() == 0
        node = site.node()
        await node.start()
        await eventually(lambda: site.hub.has("t.value", len(NO_HUBS)), "every value arrives")
        assert sorted(row.value for row in await site.hub.rows("t.value")) == list(
            range(len(NO_HUBS))
        )
        assert (await enrol_second(shell, site.hub.nodes_url, token)).err == ""


async def enrol_second(shell: CommandLine, url: str, token: str) -> Ended:
    words = ("--hub", url, "--name", "n2", "--data-dir", str(shell.home / "n2"))
    return await shell.run("node", "enroll", *words, stdin=token.encode())


async def blames(node: Node, words: str) -> bool:
    status = await node.status()
    assert status is not None
    return status.link.state == "offline" and words in status.link.cause
