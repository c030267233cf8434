"""The REST front of the gate: it waits for the agent, and never does a request twice."""

import contextlib
import http.client
import signal
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Self

import pytest
from tests.closing import Closes
from tests.gate_rig import PATIENCE, Agent, GateRig, Raw, until

from skerry.gate import REQUESTS, packets
from skerry.gate.door import Door
from skerry.gate.splice import HEAD_SECONDS, HOLD_SECONDS, IDLE_SECONDS, Splices
from skerry.gate.tokens import Tokens
from skerry.keeper.loop import Loop

pytestmark = pytest.mark.timeout(120)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answering = self.server
        assert isinstance(answering, Answering)
        answering.asked.append((self.path, len(body)))
        answering.got.set()
        if self.path == "/never":
            answering.over.wait(PATIENCE)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def address_string(self) -> str:
        return "gate"

    def log_message(self, *arguments: object) -> None:
        """Not in the test's output."""


class Answering(ThreadingMixIn, UnixStreamServer):
    """Stands where the agent answers."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Handler)
        self.asked: list[tuple[str, int]] = []
        self.got, self.over = threading.Event(), threading.Event()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def get_request(self) -> tuple[socket.socket, str]:
        sock, address = super().get_request()
        self._open.append(sock)
        return sock, address

    def die(self) -> None:
        """As by SIGKILL: nobody listens and every connection is gone."""
        self.shutdown()
        self.socket.close()
        for sock in self._open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended already
        self.over.set()
        self._thread.join()
        self.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.die()


@pytest.fixture
def rig(short_dir: Path, memory_dir: Path) -> Iterator[GateRig]:
    with GateRig(short_dir, memory_dir) as rig:
        rig.start_gate()
        yield rig


def connection(rig: GateRig) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", rig.rest_port, timeout=PATIENCE)


def test_requests_go_through_and_large_ones_too(rig: GateRig) -> None:
    with Answering(rig.run / "rest") as answering:
        asking = connection(rig)
        for body in (b"{}", b"x" * 3_000_000, b""):
            asking.request("POST", "/api", body)
            assert asking.getresponse().read() == body
        asking.close()
        assert answering.asked == [("/api", 2), ("/api", 3_000_000), ("/api", 0)]


def test_a_request_waits_for_the_agent(rig: GateRig) -> None:
    asking = connection(rig)
    asking.request("POST", "/api", b"x" * 200_000)
    late = connection(rig)
    late.request("GET", "/")
    with Answering(rig.run / "rest"):
        assert asking.getresponse().read() == b"x" * 200_000
        assert late.getresponse().read() == b"ok"
        late.close()
        asking.close()


def test_an_agent_that_restarts_between_requests_is_not_noticed(rig: GateRig) -> None:
    with Answering(rig.run / "rest"):
        asking = connection(rig)
        asking.request("GET", "/")
        assert asking.getresponse().read() == b"ok"
    with socket.create_connection(("127.0.0.1", rig.rest_port)) as other:
        other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with Answering(rig.run / "rest"):
            assert other.recv(12) == b"HTTP/1.1 200"
    asking.close()


def test_what_may_have_been_done_is_not_done_again(rig: GateRig) -> None:
    answering = Answering(rig.run / "rest")
    asking = connection(rig)
    asking.request("POST", "/never", b"once")
    assert answering.got.wait(PATIENCE)
    answering.die()
    reply = asking.getresponse()
    assert (reply.status, reply.getheader("Connection")) == (502, "close")
    assert b"may have been done" in reply.read()
    with Answering(rig.run / "rest") as successor:
        asking.request("POST", "/after", b"")
        assert asking.getresponse().status == 200
        assert successor.asked == [("/after", 0)]
    asking.close()


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize("said", [b"", b"POST /api HTTP/1.1\r\nAuthorization: Token cw_a\r\n"])
def test_who_says_nothing_or_half_a_head_makes_room(rig: GateRig, said: bytes) -> None:
    with Answering(rig.run / "rest") as answering, contextlib.ExitStack() as stack:
        for _ in range(2 * REQUESTS):
            silent = stack.enter_context(
                socket.create_connection(("127.0.0.1", rig.rest_port), PATIENCE)
            )
            silent.sendall(said)
        asking = connection(rig)
        asking.request("POST", "/api", b"{}")
        assert asking.getresponse().read() == b"{}"
        asking.close()
        assert answering.asked == [("/api", 2)]


@pytest.mark.guarantee("G4")
def test_who_connects_and_says_nothing_again_and_again_keeps_nobody_waiting(rig: GateRig) -> None:
    """Each of these connections comes behind others that are silent, and is answered while more of them come."""
    token = rig.token()
    rig.start_broker()
    flood = [Flood(rig.rest_port), Flood(rig.mqtt_port)]
    with Answering(rig.run / "rest") as answering, flood[0], flood[1], Agent(rig.run) as agent:
        agent.hello()
        agent.ask("tokens", ("path", rig.run / "tokens"))
        for _ in range(6):
            seen = [one.count + 100 for one in flood]
            until(lambda: all(one.count > at for one, at in zip(flood, seen, strict=True)), "more")  # noqa: B023
            with contextlib.closing(connection(rig)) as asking:
                asking.request("POST", "/api", b"{}")
                assert asking.getresponse().read() == b"{}"
            rig.device(token).connect().close()
        assert len(answering.asked) == 6


class Flood(Closes):
    """Connections that say nothing, one after the other as fast as they come; some hundred at a time are open."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._connect)
        self._thread.start()

    def _connect(self) -> None:
        held: deque[socket.socket] = deque()
        while not self._over.is_set():
            held.append(socket.create_connection(("127.0.0.1", self._port), PATIENCE))
            self.count += 1
            if len(held) > 300:
                held.popleft().close()
        for sock in held:
            sock.close()

    def close(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.guarantee("G4")
def test_one_token_takes_no_connections_of_others(rig: GateRig) -> None:
    hungry, other = rig.token("a"), rig.token("b")
    with Agent(rig.run) as agent, Answering(rig.run / "rest") as answering:
        agent.hello()
        assert agent.ask("tokens", ("path", rig.run / "tokens")).number("count") == 2
        held = [connection(rig) for _ in range(REQUESTS)]
        for number, each in enumerate(held):
            each.request("POST", "/never", b"", {"Authorization": f"Token {hungry}"})
            if number == REQUESTS - 1:
                refused = each.getresponse()
                assert (refused.status, refused.getheader("Retry-After")) == (503, "2")
        until(lambda: len(answering.asked) == REQUESTS * 2 // 3, "the others are asked")
        asking = connection(rig)
        asking.request("GET", "/", headers={"Authorization": f"Bearer {other}"})
        assert asking.getresponse().read() == b"ok"
        for each in (asking, *held):
            each.close()


def test_who_rests_makes_room_for_its_own_next_connection(rig: GateRig) -> None:
    with Answering(rig.run / "rest"), contextlib.ExitStack() as stack:
        for _ in range(REQUESTS * 2 // 3 + 1):
            asking = stack.enter_context(contextlib.closing(connection(rig)))
            asking.request("GET", "/")
            status = asking.getresponse().status
        assert status == 503

        def served() -> bool:
            with contextlib.closing(connection(rig)) as late:
                late.request("GET", "/")
                return late.getresponse().status == 200

        until(served, "the first one has rested long enough")


@pytest.mark.guarantee("G4")
def test_who_is_gone_before_it_is_let_in_ends_nobody_else(rig: GateRig) -> None:
    assert rig.gate
    rig.gate.send_signal(signal.SIGSTOP)
    for port in (rig.rest_port, rig.mqtt_port):
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as gone:
                reset_at_close = struct.pack("ii", 1, 0)
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_close)
    asking = connection(rig)
    asking.request("GET", "/")
    rig.gate.send_signal(signal.SIGCONT)
    with Answering(rig.run / "rest"):
        nobody = Raw(rig, "nobody")
        assert nobody.refusal == packets.NOT_AUTHORIZED
        nobody.sock.close()
        assert asking.getresponse().read() == b"ok"
    asking.close()


@contextlib.contextmanager
def spliced(directory: Path) -> Iterator[tuple[socket.socket, Loop, list[float]]]:
    """Somebody who asks, the loop that serves him, and the time, which is the test's; no agent is there."""
    now = [0.0]
    loop = Loop(lambda: now[0])
    agent = Door(str(directory / "nobody"), loop, lambda: now[0], 1)
    splices = Splices(loop, agent, lambda: now[0], Tokens())
    with socket.create_server(("127.0.0.1", 0)) as server:
        asking = socket.create_connection(server.getsockname(), PATIENCE)
        splices.welcome(server.accept()[0])
    with asking:
        yield asking, loop, now


def test_half_a_head_is_told_that_it_is_late_and_never_reaches_the_agent(short_dir: Path) -> None:
    with spliced(short_dir) as (asking, loop, now):
        for piece in (b"GET / HTTP/1.1\r\n", b"Host: x\r\n"):
            asking.sendall(piece)
            loop.turn()
        now[0] = HEAD_SECONDS
        loop.turn()
        assert asking.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_patience_ends_with_an_answer(short_dir: Path) -> None:
    with spliced(short_dir) as (asking, loop, now):
        asking.sendall(b"GET / HTTP/1.1\r\n\r\n")
        loop.turn()
        now[0] = HOLD_SECONDS - 1
        loop.turn()
        asking.settimeout(0)
        with pytest.raises(BlockingIOError):
            asking.recv(1000)
        now[0] = HOLD_SECONDS
        loop.turn()
        asking.settimeout(PATIENCE)
        reply = asking.recv(1000)
        assert asking.recv(1000) == b""
    assert reply.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 2\r\n" in reply
    assert b"does not answer" in reply


def test_an_idle_connection_ends(short_dir: Path) -> None:
    with spliced(short_dir) as (asking, loop, now):
        now[0] = IDLE_SECONDS + 1
        loop.turn()
        assert asking.recv(1) == b""
