"""Asking a hub (TCP) or a node (its admin socket): JSON in, wire values out, errors that name a way out."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import errno
import ipaddress
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_exceptions import UnixClientConnectorError

from skerry.kit.authorities import authorities
from skerry.kit.errors import InvalidInput, NotFound, Refused, Transient
from skerry.kit.file_lock import last_holder
from skerry.kit.one_line import one_line
from skerry.kit.redirects import none_followed
from skerry.node.settings import admin_socket
from skerry.wire.codec import decode, encode
from skerry.wire.people import Problem

T = TypeVar("T")
Query = Mapping[str, str | int | bool | None]


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for a connection, and then for the first byte of an answer and between any two."""

    connect: float
    answer: float


HERE = Patience(connect=2.0, answer=5.0)
"""With a hub or node on this machine: one that takes longer is frozen."""

AWAY = Patience(connect=5.0, answer=15.0)
"""With a hub behind a network."""

CHECKS_SECONDS = 60.0
"""For `doctor`, whose checks have time limits of their own, and for what ends workloads."""

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of one answer: more than any sensible question has, far less than fills this machine."""

_BINARY = "application/octet-stream"
_MAX_TOKEN = 4096
_PERHAPS_DONE = "It may be carried out all the same: look with «skerry get» before you repeat it."
_FROZEN = "If it is stopped: kill -CONT {pid}. Else kill -9 {pid} and start it again; its workloads go on."
_NO_SKERRY = "Is it Skerry that answers there?"

_CAUSES = {
    errno.ECONNREFUSED: "connection refused",
    errno.ENOENT: "it is not running",
    errno.EACCES: "permission denied",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
}


class Unreachable(Transient):
    """No answer came. `cause` in a few words; `way_out` says what to do."""

    def __init__(self, what: str, cause: str, way_out: str) -> None:
        super().__init__(f"cannot reach {what}: {cause}. {way_out}")
        self.what = what
        self.cause = cause
        self.way_out = way_out


class Api:
    """One hub or node. Every call raises Unreachable, or the error that the answer's status and Problem mean.

    `process` tells the pid of one on this machine whose socket is there but silent; empty: not known.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        what: str,
        way_out: str,
        patience: Patience,
        *,
        refused: str = "",
        process: Callable[[], str] = lambda: "",
    ) -> None:
        self._session = session
        self._process = process
        self.what = what
        self._way_out = way_out
        self._patience = patience
        self._refused = refused

    async def get(self, path: str, kind: type[T], query: Query | None = None) -> T:
        """GET, decoded as `kind`. Raises Refused when the answer has more than MAX_ANSWER bytes."""
        return self._read(await self._ask("GET", path, query), kind)

    def patient(self, seconds: float) -> Api:
        """The same, for a question whose answer may take so long."""
        patience = Patience(self._patience.connect, seconds)
        return Api(
            self._session,
            self.what,
            self._way_out,
            patience,
            refused=self._refused,
            process=self._process,
        )

    async def send(self, method: str, path: str, body: object, kind: type[T]) -> T:
        """`body` as JSON by `method`; the answer decoded as `kind`."""
        return self._read(await self._ask(method, path, body=encode(body)), kind)

    async def upload(self, path: str, query: Query, data: bytes, kind: type[T]) -> T:
        """`data` as it is by PUT; the answer decoded as `kind`."""
        return self._read(await self._ask("PUT", path, query, data, _BINARY), kind)

    async def send_bytes(self, method: str, path: str, data: bytes, kind: type[T]) -> T:
        """`data` as it is by `method`; the answer decoded as `kind`."""
        return self._read(await self._ask(method, path, None, data, _BINARY), kind)

    async def order(self, method: str, path: str, body: object | None = None) -> None:
        """A request whose answer says nothing but «done»."""
        await self._ask(method, path, body=b"" if body is None else encode(body))

    async def lines(
        self, path: str, query: Query | None = None, body: object | None = None
    ) -> AsyncIterator[str]:
        """Whole lines of a text answer as they arrive; to `body`, sent by POST, if there is one."""
        rest = ""
        async for piece in self.text(path, query, body):
            *lines, rest = (rest + piece).split("\n")
            for line in lines:
                yield line
        if rest:
            yield rest

    async def text(
        self, path: str, query: Query | None = None, body: object | None = None
    ) -> AsyncIterator[str]:
        """Pieces of a text answer as they arrive: the first word of it in time, the rest for as long as it takes."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        timeout = aiohttp.ClientTimeout(connect=self._patience.connect)
        method = "GET" if body is None else "POST"
        data = None if body is None else encode(body)
        try:
            async with asyncio.timeout(self._patience.answer):
                begun = await self._session.request(
                    method,
                    path,
                    params=_written(query),
                    data=data,
                    timeout=timeout,
                    allow_redirects=False,
                )
            async with begun as answer:
                await self._check(answer)
                async for chunk in answer.content.iter_any():
                    yield decoder.decode(chunk)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def download(self, path: str, start: int) -> AsyncIterator[bytes]:
        """The bytes from `start` on. Raises Transient when they end early."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            async with self._session.get(
                path,
                headers=headers,
                timeout=aiohttp.ClientTimeout(
                    connect=self._patience.connect, sock_read=self._patience.answer
                ),
                allow_redirects=False,
            ) as answer:
                await self._check(answer)
                if start and answer.status != 206:
                    raise Refused(f"cannot go on with a download: {self.what} sends no part of it")
                async for data in answer.content.iter_any():
                    yield data
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _read(self, answer: bytes, kind: type[T]) -> T:
        try:
            return decode(answer, kind, f"the answer of {self.what}")
        except InvalidInput as error:
            raise InvalidInput(f"{error}. {_NO_SKERRY}") from error

    async def _ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: bytes = b"",
        content_type: str = "application/json",
    ) -> bytes:
        headers = {"Content-Type": content_type} if body else {}
        try:
            async with self._session.request(
                method,
                path,
                params=_written(query),
                data=body or None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(
                    connect=self._patience.connect, sock_read=self._patience.answer
                ),
                allow_redirects=False,
            ) as answer:
                await self._check(answer)
                return await self._bounded(answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error, ordered=method != "GET") from error

    async def _check(self, answer: aiohttp.ClientResponse) -> None:
        if 200 <= answer.status < 300:
            return
        data = await self._bounded(answer)
        try:
            words = decode(data, Problem, "error").error
        except InvalidInput:
            words = (
                f"cannot use {self.what}: it answered {answer.status} {answer.reason}. {_NO_SKERRY}"
            )
        match answer.status:
            case 400 | 413 | 422:
                raise InvalidInput(words)
            case 401 | 403:
                raise Refused(f"{words} {self._refused}".strip())
            case 404:
                raise NotFound(words)
            case status if 400 <= status < 500 or status == 507:
                raise Refused(words)
            case _:
                raise Transient(words)

    async def _bounded(self, answer: aiohttp.ClientResponse) -> bytes:
        data = bytearray()
        async for chunk in answer.content.iter_any():
            data += chunk
            if len(data) > MAX_ANSWER:
                raise Refused(
                    f"cannot take the answer of {self.what}: it has more than {MAX_ANSWER // 2**20} MiB. "
                    "Ask for less, for example with --limit or --since."
                )
        return bytes(data)

    def _unreachable(self, error: Exception, *, ordered: bool = False) -> Unreachable:
        way_out = self._way_out
        match error:
            case TimeoutError() if not ordered and (pid := self._process()):
                cause = f"process {pid} lives but does not answer"
                way_out = _FROZEN.format(pid=pid)
            case aiohttp.ConnectionTimeoutError():
                cause = f"no connection within {self._patience.connect:g} s"
            case TimeoutError():
                cause = f"no answer within {self._patience.answer:g} s"
                way_out = _PERHAPS_DONE if ordered else way_out
            case UnixClientConnectorError(os_error=ConnectionRefusedError()):
                cause = "it is not running"  # it left its socket behind
            case aiohttp.ClientConnectorCertificateError():
                cause = f"its certificate is not trusted ({one_line(str(error.certificate_error))})"
                way_out = "Name the file of its authority: skerry login USER --ca-file FILE."
            case aiohttp.ClientConnectorError():
                number = error.os_error.errno or 0
                cause = _CAUSES.get(number) or error.os_error.strerror or os.strerror(number)
            case aiohttp.ClientResponseError():
                cause = "it answers something else than HTTP"
            case _:
                cause = one_line(str(error)) or type(error).__name__
        return Unreachable(self.what, cause, way_out)


@contextlib.asynccontextmanager
async def hub_api(
    url: str, token_file: Path | None, ca_file: Path | None = None
) -> AsyncIterator[Api]:
    """The hub at `url`, as whoever has the token, or as nobody. Raises as `hub_session`."""
    async with hub_session(url, token_file, ca_file) as session:
        yield Api(
            session,
            f"the hub at {url}",
            "Start it with «skerry up» or «skerry hub run», or name another with --hub.",
            HERE if is_here(url) else AWAY,
            refused=f"The token is from {token_file}." if token_file else "",
        )


def hub_session(
    url: str, token_file: Path | None, ca_file: Path | None = None
) -> aiohttp.ClientSession:
    """Connections to the hub at `url`, as whoever has the token, or as nobody.

    Raises as `read_token`, and Refused where others could read the token on its way.
    """
    headers = {}
    if token_file is not None:
        if urlsplit(url).scheme != "https" and not is_here(url):
            raise Refused(
                f"cannot ask the hub at {url}: the token would travel in the clear. Use its https address."
            )
        headers["Authorization"] = f"Bearer {read_token(token_file, f'the hub at {url}')}"
    return _session(url, _connector(url, ca_file), headers)


def _connector(url: str, ca_file: Path | None) -> aiohttp.TCPConnector:
    """Reads certificate authorities only where TLS is spoken."""
    if urlsplit(url).scheme != "https":
        return aiohttp.TCPConnector()
    return aiohttp.TCPConnector(ssl=authorities(ca_file, "ca_file of the context"))


@contextlib.asynccontextmanager
async def node_api(data_dir: Path, patience: Patience = HERE) -> AsyncIterator[Api]:
    """The node in `data_dir`, by its admin socket."""
    async with node_session(data_dir) as session:
        yield Api(
            session,
            f"the node in {data_dir}",
            f"Start it with «skerry node run --data-dir {data_dir}», or name another with --data-dir.",
            patience,
            process=partial(_agent_in, data_dir),
        )


def node_session(data_dir: Path) -> aiohttp.ClientSession:
    """Connections to the admin socket of the node in `data_dir`."""
    return _session("http://node", aiohttp.UnixConnector(str(admin_socket(data_dir))), {})


def _agent_in(data_dir: Path) -> str:
    from skerry.node.store.opening import LOCK_FILE

    return last_holder(data_dir / LOCK_FILE)


def is_here(url: str) -> bool:
    """Whether a hub's address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _session(
    url: str, connector: aiohttp.BaseConnector, headers: dict[str, str]
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        url,
        connector=connector,
        # Unpacked bytes could not be bounded while they come.
        headers={"Accept-Encoding": "identity", **headers},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[none_followed()],
    )


def read_token(path: Path, what: str) -> str:
    """The token in a file, for `what`. Raises Unreachable when it cannot be read, InvalidInput when it is none."""
    try:
        with path.open("rb") as file:
            token = file.read(_MAX_TOKEN).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise Unreachable(
            what,
            f"no token at {path} ({error.strerror})",
            "Start the hub with «skerry up» or «skerry hub run», or name the file with --token-file.",
        ) from error
    if not token.isascii() or len(token.split()) != 1:
        raise InvalidInput(f"cannot use {path}: it holds no token (one word)")
    return token


def _written(query: Query | None) -> dict[str, str]:
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in (query or {}).items()
        if value is not None
    }
