"""A registry of images for tests: read-only, on loopback, over HTTP; it can be slow, cut downloads, want a password, and go away."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.ports import free_port

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
"""Engines look at the bytes, so that a layer may be a plain tar."""

_CHUNK = 64 * 1024


def layer(files: dict[str, bytes]) -> bytes:
    """A layer with these files, not compressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Registry:
    """`address` is what an image's name begins with. `login` («user:password») is wanted when it is set."""

    port: int = field(default_factory=free_port)
    login: str = ""
    cut_after: int = 0
    """Bytes of a blob after which a connection is cut; the next one may go on from there (Range)."""
    pause: float = 0.0
    """Seconds between two chunks of a blob."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cuts: int = 0
    _server: ThreadingHTTPServer | None = None
    _gone: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, name: str, layers: list[bytes], config: dict[str, object] | None = None) -> str:
        """Puts an image «NAME:TAG» there; returns what it is called in a spec."""
        digests = [self._blob(one) for one in layers]
        about = {
            "architecture": "amd64",
            "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": digests},
            "history": [{"created_by": "test"} for _ in digests],
        }
        written = json.dumps(about).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {
                "mediaType": _CONFIG,
                "size": len(written),
                "digest": self._blob(written),
            },
            "layers": [
                {"mediaType": _LAYER, "size": len(one), "digest": digest}
                for one, digest in zip(layers, digests, strict=True)
            ],
        }
        body = json.dumps(manifest).encode()
        path, _, tag = name.partition(":")
        for reference in (tag, _digest(body)):
            self.manifests[f"/v2/{path}/manifests/{reference}"] = (_digest(body), body)
        return f"{self.address}/{name}"

    def start(self) -> None:
        """Answers, at the same port each time."""
        self._gone.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Connections are refused from now on, and downloads end."""
        self._gone.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def wait(self) -> bool:
        """Waits between two chunks; True: the registry has gone away."""
        return self._gone.wait(self.pause) if self.pause else self._gone.is_set()

    def _blob(self, content: bytes) -> str:
        self.blobs[_digest(content)] = content
        return _digest(content)


@contextlib.contextmanager
def registry(**options: object) -> Iterator[Registry]:
    """A registry that answers."""
    found = Registry(**options)  # type: ignore[arg-type]  # a test's keywords
    found.start()
    try:
        yield found
    finally:
        found.stop()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        of = registry

    return Handler


class _Handler(BaseHTTPRequestHandler):
    of: Registry
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.of.asked.append(self.path)
        wanted = f"Basic {base64.b64encode(self.of.login.encode()).decode()}"
        if self.of.login and self.headers.get("Authorization") != wanted:
            headers = {"WWW-Authenticate": 'Basic realm="test"'}
            self._answer(401, _error("UNAUTHORIZED", "authentication required"), headers)
        elif self.path == "/v2/":
            self._answer(200, b"{}", {})
        elif self.path in self.of.manifests:
            digest, body = self.of.manifests[self.path]
            self._answer(200, body, {"Content-Type": _MANIFEST, "Docker-Content-Digest": digest})
        elif (digest := self.path.rpartition("/")[2]) in self.of.blobs:
            self._blob(self.of.blobs[digest])
        else:
            self._answer(404, _error("MANIFEST_UNKNOWN", "manifest unknown"), {})

    def _blob(self, content: bytes) -> None:
        first = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        until = min(len(content), first + self.of.cut_after) if self.of.cut_after else len(content)
        gone = False
        for start in range(first, until, _CHUNK):
            if gone := self.of.wait():
                break
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content[start : min(start + _CHUNK, until)])
        if gone or until < len(content):
            self.of.cuts += 1
            self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _error(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()
