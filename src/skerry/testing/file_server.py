"""An HTTP server with files that keeps the rules or breaks exactly one of them, for tests of downloads.

async with serve_files(FileServer({"/w.onnx": data})) as server:
...                   # server.url("/w.onnx"); server.sent counts the bytes of bodies
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_PIECE = 16 * 1024


@dataclass
class FileServer:
    """What is served, and how; may be changed between two requests."""

    files: dict[str, bytes]
    ranges: bool = True
    etags: bool = True
    chunked: bool = False
    """No Content-Length."""
    told_length: int | None = None
    """What Content-Length says instead of the truth."""
    stop_after: int | None = None
    """Bytes of a body after which the connection is closed, once."""
    status: int = 200
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[web.Request] = field(default_factory=list)
    sent: int = 0
    port: int = 0

    def url(self, path: str) -> str:
        """Where a file is."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.requests.append(request)
        if request.path in self.redirects:
            return web.Response(status=302, headers={"Location": self.redirects[request.path]})
        if self.status != 200 or request.path not in self.files:
            return web.Response(status=404 if self.status == 200 else self.status)
        data = self.files[request.path]
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        asked = _RANGE.fullmatch(request.headers.get("Range", "")) if self.ranges else None
        if request.headers.get("If-Range", etag) != etag:
            asked = None
        start = int(asked[1]) if asked else 0
        if asked and start >= len(data):
            return web.Response(status=416)
        end = min(int(asked[2]) + 1, len(data)) if asked and asked[2] else len(data)
        response = web.StreamResponse(status=206 if asked else 200)
        if asked:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        if self.etags:
            response.headers["ETag"] = etag
        if self.chunked:
            response.enable_chunked_encoding()
        else:
            length = end - start if self.told_length is None else self.told_length
            response.headers["Content-Length"] = str(length)
        await response.prepare(request)
        await self._send(request, response, data[start:end])
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, data: bytes) -> None:
        end, self.stop_after = self.stop_after, None
        for at in range(0, len(data), _PIECE):
            if end is not None and at >= end:
                assert request.transport is not None
                request.transport.close()
                return
            piece = data[at : at + _PIECE]
            await response.write(piece)
            self.sent += len(piece)


@contextlib.asynccontextmanager
async def serve_files(server: FileServer) -> AsyncIterator[FileServer]:
    """Serves on a free loopback port within the block."""
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
