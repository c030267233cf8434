"""One file from a URL into its part: goes on where an earlier try ended, takes no byte more than was declared.

`fetching` decides when to try again and keeps what is whole. The part and, beside it, where it comes from survive
restarts. Whether a server still has the same file is asked by If-Range; whether it is the right one, the hash tells.
Where the link is limited, a file is asked for in pieces that take turns with everything else (`sync.turns`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import aiohttp
import msgspec
from yarl import URL

from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.kit.one_line import one_line
from skerry.kit.pace import Pace
from skerry.node.models.files import WriteBehind
from skerry.node.models.origins import HubAccess, headers_for, is_hub, parsed, redirected
from skerry.node.node_settings import DIRECT, Proxies
from skerry.node.ports import Turn, Turns
from skerry.wire.codec import decode, encode
from skerry.wire.models import ModelFile

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=30.0)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

_HEADS = 1000
"""Bytes of a request for a piece besides the piece, generously."""

Progress = Callable[[int], None]
"""Told the bytes that the part has, as they come."""


class PartOf(msgspec.Struct, frozen=True):
    """What a part is a part of: the address, and the version that its server named."""

    url: str
    etag: str


class _Useless(Transient):
    """The part cannot be continued: the next try begins anew."""


class Download:
    """Downloads over the node's own HTTP session; `hub` is where its credentials may go, over a session of its own if there is one."""

    def __init__(  # noqa: PLR0913 - to whom, as whom, and how fast
        self,
        session: aiohttp.ClientSession,
        hub: HubAccess | None,
        disk: Disk,
        pace: Pace,
        *,
        proxies: Proxies = DIRECT,
        turns: Turns | None = None,
        hub_session: aiohttp.ClientSession | None = None,
    ) -> None:
        self._hub_session = hub_session or session
        self._proxies = proxies
        self._turns = turns
        self._session = session
        self.hub = hub
        self._disk = disk
        self._pace = pace

    @property
    def held(self) -> str:
        """Why nothing is fetched now; empty: nothing keeps it back."""
        return "" if self._turns is None else self._turns.held

    async def fetch(self, url: str, file: ModelFile, part: Path, progress: Progress) -> None:
        """Returns when `part` has all the bytes of `file`; they are not verified.

        Raises Transient (try again: it goes on from there), Refused (the server does not give it, or gives
        something else) or OSError (the disk).
        """
        have = _size(part)
        progress(have)
        if have == file.size and part.exists():
            return
        address, redirects = parsed(url), 0
        while redirects < MAX_REDIRECTS:
            leads_to = await self._piece(address, url, file, part, progress)
            if leads_to is not None:
                address, redirects = redirected(address, leads_to), redirects + 1
            elif _size(part) >= file.size:
                return
        raise Refused(f"cannot fetch {url}: it redirects more than {MAX_REDIRECTS} times")

    async def _piece(
        self, address: URL, url: str, file: ModelFile, part: Path, progress: Progress
    ) -> str | None:
        """One request for what is missing, or for as much as one turn carries; returns as `_once`."""
        if self._turns is None:
            return await self._once(address, url, file, part, progress)
        size = min(self._turns.piece, file.size - _size(part))
        async with self._turns.turn("medium", size + size // 32 + _HEADS) as turn:
            turn.note(_HEADS)
            return await self._once(address, url, file, part, progress, turn=turn)

    async def _once(
        self,
        address: URL,
        url: str,
        file: ModelFile,
        part: Path,
        progress: Progress,
        *,
        turn: Turn | None = None,
    ) -> str | None:
        """One request; returns where it redirects to, None when the part has what was asked for."""
        have = _size(part)
        end = file.size
        if self._turns is not None:
            end = min(have + self._turns.piece, file.size)
        headers = headers_for(address, self.hub) | _range_headers(part, have, end, file, url)
        session = self._hub_session if is_hub(address, self.hub) else self._session
        try:
            async with session.get(
                address,
                headers=headers,
                timeout=_TIMEOUT,
                allow_redirects=False,
                proxy=self._proxies.of(str(address)),
            ) as answer:
                if answer.status in REDIRECTS:
                    return answer.headers.get("Location", "")
                start = _start_of(answer, url, have, file.size)
                self._begin(answer, url, part, start)
                if answer.status == 200:
                    end, turn = file.size, None
                await self._body(answer, url, file, part, progress, end=end, turn=turn)
        except _Useless:
            self._disk.unlink("model.restart", part)
            raise
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Transient(f"cannot fetch {url}: {_cause(error)}") from error
        return None

    def _begin(self, answer: aiohttp.ClientResponse, url: str, part: Path, start: int) -> None:
        """Makes the part fit the answer, and notes what it is a part of."""
        if start == 0:
            self._disk.unlink("model.restart", part)
            part_of = PartOf(url, answer.headers.get("ETag", ""))
            self._disk.write_atomic("model.origin", origin_path(part), encode(part_of))

    async def _body(  # noqa: PLR0913 - as `_once`
        self,
        answer: aiohttp.ClientResponse,
        url: str,
        file: ModelFile,
        part: Path,
        progress: Progress,
        *,
        end: int,
        turn: Turn | None,
    ) -> None:
        fd = self._disk.open_append("model.open", part)
        have = _size(part)
        behind = WriteBehind(lambda data: self._disk.append("model.append", fd, data))
        try:
            try:
                async for chunk in answer.content.iter_any():
                    have += len(chunk)
                    if have > file.size:
                        raise Refused(
                            f"cannot take {url}: it has more than the {file.size} bytes that the model says"
                        )
                    await behind.put(chunk)
                    progress(have)
                    await self._spend(len(chunk), turn)
            finally:
                await behind.flush()
        finally:
            await behind.settle()
            os.close(fd)
        if have < end:
            raise Transient(f"cannot fetch {url}: it ended after {have} of {file.size} bytes")

    async def _spend(self, size: int, turn: Turn | None) -> None:
        """So many bytes have come. Who knows no ranges sends more than a turn: it is read more slowly."""
        size_in_packets = size + size // 32
        if turn is not None:
            turn.note(size_in_packets)
        elif self._turns is not None:
            async with self._turns.turn("medium", size_in_packets) as extra:
                extra.note(size_in_packets)
        await self._pace.spend(size)


def origin_path(part: Path) -> Path:
    """The file that says what `part` is a part of."""
    return part.with_name(f"{part.name}.from")


def _range_headers(part: Path, have: int, end: int, file: ModelFile, url: str) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity"}
    if end < file.size:
        headers["Range"] = f"bytes={have}-{end - 1}"
    elif have:
        headers["Range"] = f"bytes={have}-"
    if have == 0:
        return headers
    try:
        part_of = decode(origin_path(part).read_bytes(), PartOf, "origin of a part")
    except (FileNotFoundError, InvalidInput):
        return headers
    if part_of.url == url and part_of.etag and not part_of.etag.startswith("W/"):
        headers["If-Range"] = part_of.etag
    return headers


def _start_of(answer: aiohttp.ClientResponse, url: str, have: int, size: int) -> int:
    """Where the answer's bytes belong. Raises Refused or Transient when they belong nowhere."""
    status = answer.status
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise Refused(f"cannot fetch {url}: it comes compressed, which was not asked for")
    if status == 200:
        _check_length(answer.headers.get("Content-Length"), url, size)
        return 0
    if status == 206:
        named = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if named is None or int(named[1]) != have:
            raise _Useless(f"cannot fetch {url}: it answered another part than was asked for")
        _check_length(None if named[2] == "*" else named[2], url, size)
        return have
    if status == 416:
        raise _Useless(f"cannot fetch {url}: it has less than the {size} bytes that the model says")
    kind = Transient if status in _LATER else Refused
    raise kind(f"cannot fetch {url}: it answered {status}")


def _check_length(told: str | None, url: str, size: int) -> None:
    if told is not None and told.isdecimal() and int(told) != size:
        raise Refused(f"cannot take {url}: it has {told} bytes, the model says {size}")


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _cause(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            return f"no connection ({error.os_error.strerror or 'name not found'})"
        case TimeoutError():
            return "nothing came for too long"
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | ConnectionError():
            return "the connection was cut"
        case _:
            return one_line(str(error)) or type(error).__name__
