"""The Engine API of Docker and Podman over its socket: the few calls that we need, typed. No decisions here.

Every call raises EngineGone when no engine answers, and EngineRefusal with the engine's own words when one does
and says no. What is not there is None, or nothing happens.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from skerry.kit.errors import Refused, Transient
from skerry.kit.one_line import one_line
from skerry.node.workloads.runtimes.containers.answers import (
    Container,
    EngineInfo,
    Happening,
    Listed,
    Network,
    PullLine,
)
from skerry.node.workloads.runtimes.engine_version import Version

NEWEST_KNOWN = (1, 47)
"""The newest version of the API that we were written for; an older engine is spoken to in its own."""

PATIENCE = aiohttp.ClientTimeout(total=None, sock_connect=2.0, sock_read=30.0)
"""A loaded engine on a slow card takes seconds to create a container."""

ENDLESS = aiohttp.ClientTimeout(total=None, sock_connect=2.0)

NO_ROOM = "no space left on device"

_NOT_RUNNING = ("can only kill running containers", "container state improper")
"""Podman's, with 500."""

_MAX_LINE = 1 << 20

_NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError)


class EngineGone(Transient):
    """No container engine answers."""


class EngineRefusal(Refused):
    """The engine answered no; `status` is its HTTP status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class _ImageConfig(msgspec.Struct, frozen=True, rename="pascal"):
    user: str = ""


class _Image(msgspec.Struct, frozen=True, rename="pascal"):
    config: _ImageConfig | None = None


class _LoadLine(msgspec.Struct, frozen=True):
    stream: str = ""
    error: str = ""


class _Created(msgspec.Struct, frozen=True, rename="pascal"):
    id: str


class _Executed(msgspec.Struct, frozen=True, rename="pascal"):
    exit_code: int | None


class _Complaint(msgspec.Struct, frozen=True):
    message: str = ""


class Engine:
    """The engine behind the first of `sockets` that exists whenever a connection is made; `prefix` is that of its paths."""

    def __init__(self, sockets: Sequence[Path]) -> None:
        self._sockets = sockets
        self.socket = sockets[0]
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self.prefix = ""
        self._version = Version(api_version="1.24")

    async def close(self) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def listed(self, label: str) -> list[Listed]:
        """Every container with this label («key=value»), running or not."""
        query = {"all": "1", "filters": json.dumps({"label": [label]})}
        return msgspec.json.decode(
            await self.call("GET", "/containers/json", query), type=list[Listed]
        )

    async def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Makes a container; returns its id."""
        answer = await self.call("POST", "/containers/create", {"name": name}, body)
        return msgspec.json.decode(answer, type=_Created).id

    async def rename(self, container: str, name: str) -> None:
        """Gives it another name; harmless when it is gone."""
        await self._unless({404}, "POST", f"/containers/{container}/rename", {"name": name})

    async def start(self, container: str) -> None:
        """Starts a created container; one that runs is left as it is."""
        await self.call("POST", f"/containers/{container}/start")

    async def kill(self, container: str, signal: str) -> None:
        """Sends a signal to its first process; harmless when it does not run (any more)."""
        try:
            query = {"signal": signal}
            await self._unless({404, 409}, "POST", f"/containers/{container}/kill", query)
        except EngineRefusal as refusal:
            if not any(words in str(refusal) for words in _NOT_RUNNING):
                raise

    async def stop(self, container: str, grace: float) -> None:
        """Asks it to end, and ends it after `grace` seconds; harmless when it does not run."""
        query = {"t": str(round(grace))}
        await self._unless({304, 404}, "POST", f"/containers/{container}/stop", query)

    async def never_restart(self, container: str) -> None:
        """From now on it is not started again by itself; harmless when it is gone. Older Podmans cannot."""
        body = {"RestartPolicy": {"Name": "no"}}
        await self._unless({404}, "POST", f"/containers/{container}/update", body=body)

    async def inspect(self, container: str) -> Container | None:
        """One container."""
        answer = await self._unless({404}, "GET", f"/containers/{container}/json")
        return None if answer is None else msgspec.json.decode(answer, type=Container)

    async def remove(self, container: str) -> None:
        """Removes it with its unnamed volumes, running or not."""
        path, query = f"/containers/{container}", {"force": "1", "v": "1"}
        try:
            await self._unless({404, 409}, "DELETE", path, query)
        except EngineRefusal as refusal:
            if "container state improper" not in str(refusal):
                raise
            await self._unless({404, 409}, "DELETE", path, query)  # it ended while Podman ended it

    async def execute(self, container: str, command: list[str]) -> int:
        """Runs a command in it and returns its exit code."""
        body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
        answer = await self.call("POST", f"/containers/{container}/exec", body=body)
        path = f"/exec/{msgspec.json.decode(answer, type=_Created).id}"
        started = {"Detach": False, "Tty": False}
        async with self._stream("POST", f"{path}/start", {}, json=started) as response:
            async for _ in response.content.iter_any():
                pass
        ended = msgspec.json.decode(await self.call("GET", f"{path}/json"), type=_Executed)
        return ended.exit_code or 0

    async def has_image(self, image: str) -> bool:
        """Whether the engine has this image."""
        return await self._unless({404}, "GET", f"/images/{image}/json") is not None

    async def image_user(self, image: str) -> str:
        """Whom the image's programs run as; empty: root."""
        answer = await self.call("GET", f"/images/{image}/json")
        config = msgspec.json.decode(answer, type=_Image).config
        return "" if config is None else config.user

    async def version(self) -> Version:
        """Which engine it is."""
        if not self.prefix:
            await self.info()
        return self._version

    async def info(self) -> EngineInfo:
        """What the engine can do."""
        return msgspec.json.decode(await self.call("GET", "/info"), type=EngineInfo)

    async def network(self, name: str) -> Network | None:
        """One network, by its name or (the beginning of) its id. Docker takes «a/../b» for the latter, too: «b»."""
        answer = await self._unless({404}, "GET", f"/networks/{quote(name, safe='')}")
        if answer is None:
            return None
        found = msgspec.json.decode(answer, type=Network)
        return found if name == found.name or found.id.startswith(name) else None

    async def load(self, archive: AsyncIterator[bytes]) -> list[str]:
        """Loads images from the text of a `docker save` archive; returns what the engine says about them."""
        async with self._stream("POST", "/images/load", {"quiet": "1"}, data=archive) as response:
            lines = [
                msgspec.json.decode(line, type=_LoadLine)
                async for line in response.content
                if line.strip()
            ]
        for line in lines:
            if line.error:
                raise EngineRefusal(500, one_line(line.error))
        return [line.stream.strip() for line in lines]

    async def pull(self, image: str, credentials: str | None) -> AsyncIterator[PullLine]:
        """Pulls an image, telling the progress. `credentials` is the value of X-Registry-Auth."""
        name, tag = split_image(image)
        headers = {} if credentials is None else {"X-Registry-Auth": credentials}
        query = {"fromImage": name, "tag": tag}
        async with self._stream("POST", "/images/create", query, headers=headers) as response:
            async for line in response.content:
                yield msgspec.json.decode(line, type=PullLine)

    async def happenings(self, label: str) -> AsyncGenerator[Happening]:
        """Events of containers with this label, from now on; the first item comes at once, when they are watched."""
        query = {"filters": json.dumps({"type": ["container"], "label": [label]})}
        async with self._stream("GET", "/events", query) as response:
            yield Happening()
            async for line in response.content:
                yield msgspec.json.decode(line, type=Happening)

    async def output(self, container: str, since: str, *, follow: bool) -> AsyncIterator[bytes]:
        """What it prints, with the engine's framing, from `since` (seconds since 1970) to its end, or until now."""
        query = {"stdout": "1", "stderr": "1", "timestamps": "1", "since": since}
        query["follow"] = "1" if follow else "0"
        async with self._stream("GET", f"/containers/{container}/logs", query) as response:
            async for chunk in response.content.iter_any():
                yield chunk

    async def _unless(
        self,
        statuses: set[int],
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes | None:
        try:
            return await self.call(method, path, query, body)
        except EngineRefusal as refusal:
            if refusal.status in statuses:
                return None
            raise

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:
        try:
            async with self._request(method, path, query, json=body, timeout=PATIENCE) as response:
                answer = await response.read()
        except _NO_ANSWER as error:
            raise self.gone(error) from error
        _check(response.status, answer)
        return answer

    @asynccontextmanager
    async def _stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        **body: Any,  # noqa: ANN401 - aiohttp's own
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._request(method, path, query, **body, timeout=ENDLESS) as response:
                if response.status >= 400:
                    _check(response.status, await response.read())
                yield response
        except _NO_ANSWER as error:
            raise self.gone(error) from error

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        **options: Any,  # noqa: ANN401 - aiohttp's own
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session = await self._opened()
        url = f"http://engine{self.prefix}{path}"
        async with session.request(method, url, params=query, **options) as response:
            yield response

    async def _opened(self) -> aiohttp.ClientSession:
        """The session with the engine that is there now, and its version known."""
        async with self._opening:  # callers that come together must not close each other's session
            if self._session is not None and self.prefix:
                return self._session
            return await self._open()

    async def _open(self) -> aiohttp.ClientSession:
        await self.close()
        self.socket = next((path for path in self._sockets if path.exists()), self._sockets[0])
        connector = aiohttp.UnixConnector(str(self.socket), limit=0)
        session = aiohttp.ClientSession(connector=connector, read_bufsize=_MAX_LINE)
        self._session = session
        async with session.get("http://engine/version", timeout=PATIENCE) as response:
            self._version = msgspec.json.decode(await response.read(), type=Version)
        self.prefix = _prefix(self._version)
        return session

    def gone(self, error: Exception) -> EngineGone:
        self.prefix = ""  # another engine may answer next time
        if not any(path.exists() for path in self._sockets):
            looked = ", ".join(map(str, self._sockets))
            return EngineGone(
                f"cannot reach the container engine at {looked}: nothing is there. Install docker.io or podman "
                "and start it, or set containers.socket."
            )
        cause = getattr(error, "strerror", None) or str(error) or "no answer"
        return EngineGone(f"cannot reach the container engine at {self.socket}: {one_line(cause)}")


def split_image(image: str) -> tuple[str, str]:
    """Name and tag (or digest), as the engine wants them; without either the tag is «latest»."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    host, slash, rest = image.rpartition("/")
    last, _, tag = rest.partition(":")
    return f"{host}{slash}{last}", tag or "latest"


def _prefix(version: Version) -> str:
    engine, oldest = (
        tuple(int(part) for part in text.split("."))
        for text in (version.api_version, version.min_a_p_i_version)
    )
    return "/v" + ".".join(str(part) for part in max(min(engine, NEWEST_KNOWN), oldest))


def _check(status: int, answer: bytes) -> None:
    if status < 400:
        return
    try:
        words = msgspec.json.decode(answer, type=_Complaint).message
    except msgspec.DecodeError:
        words = answer[:200].decode("utf-8", "replace")
    if NO_ROOM in words:  # Podman tells it after all else that it has tried
        words = f"{NO_ROOM}: {words}"
    raise EngineRefusal(status, one_line(words) or f"it answered {status}")
