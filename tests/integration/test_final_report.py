"""The last thing that a node does: who is told, for how long, and how its process ends."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from skerry.kit.authorities import certificates_of
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.service_manager import ServiceManager
from skerry.node import final_report
from skerry.node.host import Host
from skerry.node.node_settings import NodeSettings
from skerry.node.retirement import (
    Certificate,
    Mark,
    read_certificate,
    write_certificate,
    write_mark,
)
from skerry.node.settings import find_settings, node_settings
from skerry.wire.codec import encode
from skerry.wire.devices import NOT_TAKEN, ErasureReport, ErasureTaken, WipeOrder
from skerry.wire.people import Problem

TAKEN = 200, encode(ErasureTaken("x"))
NOT_OURS = 409, encode(Problem(f"{NOT_TAKEN}: it is not of a device of this hub"))
NO_HUB = 404, b"<html>nothing here</html>"

Answers = Callable[..., str]


@pytest.fixture
def hub() -> Iterator[Answers]:
    """Makes a server that gives these answers in turn, the last one for ever; returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def make(*answers: tuple[int, bytes]) -> str:
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                status, body = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


class HastyClock(SystemClock):
    """Nobody waits for a hub here."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


@pytest.fixture
def secure_hub(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server with a certificate that no system knows; its address, and the certificate with its key."""
    both = tmp_path / "both.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]  # fmt: skip
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "own.pem")]
    subprocess.run(["openssl", *words, *named, *files], check=True, capture_output=True)
    both.write_text((tmp_path / "own.pem").read_text() + (tmp_path / "key.pem").read_text())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(TAKEN[0])
            self.send_header("Content-Length", str(len(TAKEN[1])))
            self.end_headers()
            self.wfile.write(TAKEN[1])

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}", both
    server.shutdown()
    server.server_close()


def test_whom_the_node_believed_is_still_known_when_the_file_that_says_so_is_erased(
    tmp_path: Path, secure_hub: tuple[str, Path]
) -> None:
    address, both = secure_hub
    data_dir = tmp_path / "n"
    data_dir.mkdir()
    own = data_dir / "ca.pem"
    own.write_bytes(both.read_bytes())
    known = certificates_of(own)
    assert "PRIVATE" not in known
    order = WipeOrder("id-1", "n1", "hub-1", "receipt", 1, "sold")
    write_mark("test", data_dir, RealDisk(), Mark(order, 1, [address], authorities=known))
    options = {"data_dir": str(data_dir), "hub.ca_file": str(own)}
    assert finished(node_settings(find_settings([], options=options))) == 0
    assert not own.exists()
    assert is_taken(data_dir)


def erased(data_dir: Path, *hubs: str, taken: bool = False) -> NodeSettings:
    report = ErasureReport("id-1", "{}", "mac")
    certificate = Certificate(report, list(hubs), "n1", 1, 3, taken=taken)
    write_certificate(data_dir, RealDisk(), certificate)
    return node_settings(find_settings([], options={"data_dir": str(data_dir)}))


def finished(settings: NodeSettings, manager: ServiceManager | None = None) -> int:
    manager = manager or ServiceManager()
    return final_report.finish(settings, Host(HastyClock(), RealDisk(), random.Random(1), manager))


def is_taken(data_dir: Path) -> bool:
    certificate = read_certificate(data_dir)
    assert certificate is not None
    return certificate.taken


def test_a_stranger_at_one_address_does_not_keep_the_hub_from_hearing(
    tmp_path: Path, hub: Answers
) -> None:
    settings = erased(tmp_path, hub(NO_HUB), hub(NOT_OURS), hub(NO_HUB, (401, b""), TAKEN))
    assert finished(settings) == 0
    assert is_taken(tmp_path)


def test_a_hub_that_will_never_take_it_is_left_in_peace(tmp_path: Path, hub: Answers) -> None:
    assert finished(erased(tmp_path, hub(NO_HUB, NOT_OURS))) == 0
    assert not is_taken(tmp_path)


def test_what_a_service_manager_waits_for_is_said_and_it_need_not_start_again(
    tmp_path: Path, hub: Answers
) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(address)
        ear.setblocking(False)
        assert finished(erased(tmp_path, taken=True), ServiceManager(address, 30.0)) == 0
        assert ear.recv(100).startswith(b"READY=1")
        settings = erased(tmp_path, hub(*[NO_HUB] * 20, TAKEN))
        assert finished(settings, ServiceManager(address, 0.01)) == 0
        heard: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(ear.recv(100))
    assert heard.count(b"WATCHDOG=1") > 1
