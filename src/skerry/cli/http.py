"""Asking a hub (TCP) or a node (its admin socket): JSON in, wire values out, errors that name a way out."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TypeVar

import aiohttp

from skerry.kit.errors import InvalidInput, NotFound, Refused, Transient
from skerry.kit.one_line import one_line
from skerry.node.settings import admin_socket
from skerry.wire.codec import decode, encode
from skerry.wire.people import Problem

T = TypeVar("T")
Query = Mapping[str, str | int | bool | None]

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 30.0
_MAX_TOKEN = 4096
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
    """One hub or node. Every call raises Unreachable, or the error that the answer's status and Problem mean."""

    def __init__(
        self, session: aiohttp.ClientSession, what: str, way_out: str, *, refused: str = ""
    ) -> None:
        self._session = session
        self.what = what
        self._way_out = way_out
        self._refused = refused

    async def get(self, path: str, kind: type[T], query: Query | None = None) -> T:
        """GET, decoded as `kind`."""
        return self._read(await self._ask("GET", path, query), kind)

    async def send(self, method: str, path: str, body: object, kind: type[T]) -> T:
        """`body` as JSON by `method`; the answer decoded as `kind`."""
        return self._read(await self._ask(method, path, body=encode(body)), kind)

    async def order(self, method: str, path: str, body: object | None = None) -> None:
        """A request whose answer says nothing but «done»."""
        await self._ask(method, path, body=b"" if body is None else encode(body))

    async def text(self, path: str, query: Query | None = None) -> AsyncIterator[str]:
        """Pieces of a text answer as they arrive, for as long as it takes."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS)
        try:
            async with self._session.get(
                path, params=_written(query), timeout=timeout, allow_redirects=False
            ) as answer:
                await self._check(answer)
                async for chunk in answer.content.iter_any():
                    yield decoder.decode(chunk)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _read(self, answer: bytes, kind: type[T]) -> T:
        try:
            return decode(answer, kind, f"the answer of {self.what}")
        except InvalidInput as error:
            raise InvalidInput(f"{error}. {_NO_SKERRY}") from error

    async def _ask(
        self, method: str, path: str, query: Query | None = None, body: bytes = b""
    ) -> bytes:
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            async with self._session.request(
                method,
                path,
                params=_written(query),
                data=body or None,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                await self._check(answer)
                return await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def _check(self, answer: aiohttp.ClientResponse) -> None:
        if 200 <= answer.status < 300:
            return
        data = await answer.read()
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

    def _unreachable(self, error: Exception) -> Unreachable:
        match error:
            case TimeoutError():
                cause = "no answer in time"
            case aiohttp.ClientConnectorError():
                number = error.os_error.errno or 0
                cause = _CAUSES.get(number) or error.os_error.strerror or os.strerror(number)
            case aiohttp.ClientResponseError():
                cause = "it answers something else than HTTP"
            case _:
                cause = one_line(str(error)) or type(error).__name__
        return Unreachable(self.what, cause, self._way_out)


@contextlib.asynccontextmanager
async def hub_api(url: str, token_file: Path) -> AsyncIterator[Api]:
    """The hub at `url`, as its administrator. Raises Unreachable when the token cannot be read."""
    what = f"the hub at {url}"
    token = _read_token(token_file, what)
    async with _session(
        url, aiohttp.TCPConnector(), {"Authorization": f"Bearer {token}"}
    ) as session:
        yield Api(
            session,
            what,
            "Start it with «skerry up» or «skerry hub run», or name another with --hub.",
            refused=f"The token is from {token_file}.",
        )


@contextlib.asynccontextmanager
async def node_api(data_dir: Path) -> AsyncIterator[Api]:
    """The node in `data_dir`, by its admin socket."""
    socket = admin_socket(data_dir)
    async with _session("http://node", aiohttp.UnixConnector(str(socket)), {}) as session:
        yield Api(
            session,
            f"the node in {data_dir}",
            f"Start it with «skerry node run --data-dir {data_dir}», or name another with --data-dir.",
        )


def _session(
    url: str, connector: aiohttp.BaseConnector, headers: dict[str, str]
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        url,
        connector=connector,
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _read_token(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            token = file.read(_MAX_TOKEN).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise Unreachable(
            what,
            f"no administrator's token at {path} ({error.strerror})",
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
