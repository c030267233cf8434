"""A gate outlives the release that has started it: agents of later ones go on with it, and its clients notice nothing."""

import asyncio
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.gate_rig import OWN, PATIENCE, Agent, GateRig, held_by_nobody
from tests.gate_site import Site

import skerry
from skerry.gate import VERSION, journal
from skerry.gate.journal import KEPT, Entry
from skerry.gate.tokens import body_of, scopes_of
from skerry.gate.topics import Scope
from skerry.keeper import protocol
from skerry.kit.clock import SystemClock
from skerry.node.broker.link import GateLink
from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(120)
EVENT = f"cyberwave/twin/{OWN}/event"
SESSION = "00112233445566778899aabbccddeeff"

TOKENS = (
    b"digest=" + b"ab" * 32 + b"\0number=7\0role=worker\0prefix=dev\0workload=cyberwave-worker-1\0"
    b"twin=t1\0twin=t2\0environment=e1\0workflow=w1\0\0"
)
JOURNAL = bytes.fromhex(
    "534b4a3100112233445566778899aabbccddeeff2f000000ba404ebe0100000000000000020000000000000003000000"
    "000000000907000b006379626572776176652f787b2261223a317d"
)
CONVERSATION = {
    "hello": (["version"], ["version", "pid", "session", "last", "stored", "clients"]),
    "tokens": (["path"], ["count"]),
    "addresses": (["host"], []),
    "listeners": ([], []),
    "hold": (["workload"], []),
    "publish": (["topic", "payload", "qos"], ["heard"]),
    "kick": (["token"], ["count"]),
    "stored": (["session", "n"], []),
}
"""Version 2, as gates that run understand it: what is asked with which fields, and those of the answer.

Who has to change one of these raises `skerry.gate.VERSION`: gates of before are restarted then, and clients cut off.
"""

REQUESTS: dict[str, Sequence[tuple[str, object]]] = {
    "hello": [("version", 2)],
    "addresses": [("host", "127.0.0.2")],
    "listeners": [],
    "hold": [("workload", "cyberwave-driver-1")],
    "publish": [("topic", EVENT), ("payload", "x"), ("qos", 1)],
    "kick": [("token", "ab" * 32)],
}


@pytest.fixture
def rig(short_dir: Path, memory_dir: Path) -> Iterator[GateRig]:
    with GateRig(short_dir, memory_dir) as rig:
        yield rig


@pytest.mark.guarantee("G8")
async def test_a_gate_of_a_release_that_is_gone_serves_its_clients_and_a_later_agent(
    rig: GateRig, tmp_path: Path
) -> None:
    release = tmp_path / "1.0"
    for part in ("gate", "keeper"):
        shutil.copytree(Path(skerry.__file__).with_name(part), release / "skerry" / part)
    shutil.copy(skerry.__file__, release / "skerry")
    token, ended = rig.token(), rig.token("ended")
    rig.start_broker()
    rig.start_gate(release)
    before, other = rig.device(token).connect(), rig.device(ended).connect()
    before.subscribe(EVENT)
    shutil.rmtree(release)
    site = Site(rig)
    try:
        site.start_agent()
        await site.until(lambda: site.link.session)
        assert await site.link.listen(["127.0.0.2"]) == []
        await site.link.publish(EVENT, b"of the node", 1)
        assert before.hear() == (EVENT, b"of the node")
        mid = before.publish(EVENT, b"of a driver", 1)
        assert before.hear() == (EVENT, b"of a driver")
        await site.until(lambda: site.store.payloads == [b"of a driver"])
        assert await asyncio.to_thread(before.acks.get, timeout=PATIENCE) == (mid, 0)
        rig.end(ended)
        await site.link.tokens()
        assert await asyncio.to_thread(other.farewells.get, timeout=PATIENCE)
        newcomer = rig.device(rig.token("new"))
        await site.link.tokens()
        await asyncio.to_thread(newcomer.connect)
        with socket.create_connection(("127.0.0.1", rig.mqtt_port)) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert sock.recv(1) == b""
        assert before.farewells.empty()
    finally:
        await site.stop_agent()


def test_a_gate_of_this_version_understands_what_agents_of_it_say(rig: GateRig) -> None:
    assert VERSION == 2
    rig.start()
    with Agent(rig.run) as agent:
        (rig.run / "tokens").write_bytes(TOKENS)
        for operation, (fields, answered) in CONVERSATION.items():
            said = REQUESTS.get(operation, [("path", rig.run / "tokens")])
            if operation == "stored":  # has no reply
                agent.tell("stored", ("session", SESSION), ("n", 0))
                continue
            assert [name for name, _ in said] == fields
            reply = agent.ask(operation, *said)
            assert reply.get("error") is None, reply.get("text")
            assert all(reply.get(name) is not None for name in answered)
        refused = agent.ask("hello", ("version", VERSION + 1))
        assert refused.get("error") == "version"


@pytest.mark.parametrize("unknown", ["", "listeners"])
async def test_an_agent_of_this_version_asks_what_its_gates_understand(
    short_dir: Path, memory_dir: Path, unknown: str
) -> None:
    """The other end is a gate that knows nothing but version 2, or not even all of that."""
    asked: dict[str, list[str]] = {}
    entries = memory_dir / "journal"
    entries.mkdir()
    (entries / f"{SESSION}-0").write_bytes(JOURNAL)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(short_dir / "control"))
        listener.listen()
        link = GateLink(short_dir, entries, SystemClock(), lambda _: 0, held_by_nobody)
        gate = asyncio.create_task(asyncio.to_thread(answer, listener, asked, unknown))
        keeping = asyncio.create_task(link.keep())
        async with asyncio.timeout(PATIENCE):
            batch = await anext(link.captured())
        link.stored(batch)
        assert [entry.payload for entry in batch.entries] == [b'{"a":1}']
        await link.listen(["127.0.0.2"])
        await link.hold(["cyberwave-driver-1"])
        await link.publish(EVENT, b"x", 1)
        await link.kick("ab" * 32)
        await eventually(lambda: not link.unreached("127.0.0.2"), "drivers may be sent there")
        link.close()
        await gate
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert asked == {operation: fields for operation, (fields, _) in CONVERSATION.items()}


def answer(listener: socket.socket, asked: dict[str, list[str]], unknown: str) -> None:
    """As a gate of version 2, until the agent hangs up; notes the fields of what is asked."""
    values = {"version": 2, "session": SESSION, "stored": 0}
    listener.settimeout(PATIENCE)
    sock, _ = listener.accept()
    with sock:
        sock.settimeout(PATIENCE)
        while (message := protocol.receive(sock)) is not None:
            operation = message.text("op")
            expected, answers = CONVERSATION[operation]
            asked[operation] = [name for name in expected if message.get(name) is not None]
            if operation == unknown:
                refusal = [("error", "malformed"), ("text", f"no operation «{operation}»")]
                protocol.transmit(sock, protocol.encode([("id", message.text("id")), *refusal]))
            elif operation != "stored":
                fields = [(name, values.get(name, 1)) for name in answers]
                protocol.transmit(sock, protocol.encode([("id", message.text("id")), *fields]))


def test_files_of_this_version_are_read_and_written_as_they_were(tmp_path: Path) -> None:
    scope = Scope(
        7, "worker", "dev", frozenset({"t1", "t2"}), frozenset({"e1"}), frozenset({"w1"}), "cyberwave-worker-1"
    )  # fmt: skip
    assert scopes_of(TOKENS) == {"ab" * 32: scope}
    assert body_of({"ab" * 32: scope}) == TOKENS
    written = journal.Journal(
        str(tmp_path), bytes.fromhex(SESSION), 1_000_000, (lambda: 2, lambda: 3)
    )
    written.append(KEPT | 1, 7, "cyberwave/x", b'{"a":1}')
    written.close()
    [file] = tmp_path.iterdir()
    assert file.read_bytes() == JOURNAL
    assert [entry for entry, _ in journal.read(str(file), 0)] == [
        Entry(1, 2, 3, KEPT | 1, 7, "cyberwave/x", b'{"a":1}')
    ]
