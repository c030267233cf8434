"""The hub over HTTP: hello, push, pull and the live link's WebSocket, by aiohttp.

Implements `node.ports.Uplink`, `FileHub` and `live_link.LiveSource`; `skerry.testing.FakeHub` is the other implementation.
`exchange` is shared with `enrol`. Every call may be repeated without harm, so one that met a connection
which the hub had just closed is made once more. Where the settings limit what the link carries, each call takes its
turn (`turns`) and tells what has travelled.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp import ClientTimeout

from skerry.kit.errors import Busy, InvalidInput, Refused, Transient
from skerry.node.hub_addresses import HubAddresses
from skerry.node.node_settings import DIRECT, Proxies
from skerry.node.ports import Turn, Turns
from skerry.node.sync.connections import PATIENCE, Patience
from skerry.node.sync.failures import NO_HUB, Answer, judge, origin
from skerry.node.sync.live import WebSocketLive
from skerry.wire.codec import MAX_BODY, compress, decode, decompress, encode
from skerry.wire.files import FileManifest, FilesHeld, FileState
from skerry.wire.link import RUN_HEADER
from skerry.wire.local import LaneCounters
from skerry.wire.models import NamedModels
from skerry.wire.sync import (
    RECORD_LANES,
    Hello,
    HelloReply,
    Lane,
    Pull,
    PullReply,
    PushReply,
    PushUnit,
)
from skerry.wire.trust import Renew, Renewed

if TYPE_CHECKING:
    from skerry.wire.shared import Priority

log = logging.getLogger(__name__)

T = TypeVar("T")


HEADS = 400
"""Bytes of a call besides its bodies: the heads of request and answer, and of their packets."""

Note = Callable[[int], None]
"""Told the bytes that travel."""


class _Uncounted:
    """A turn where nobody counts."""

    def note(self, _size: int) -> None:
        """Nothing."""


_UNCOUNTED = _Uncounted()


def on_the_wire(size: int) -> int:
    """What a body of `size` bytes is in packets, each with a head of 40."""
    return size + size // 32


_UNREAD = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would add to every call, and the hub reads none of: a push has more of them than values."""

_ZSTD = {"Content-Encoding": "zstd"}
_ACCEPT = {"Accept-Encoding": "zstd"}
_LARGE_STATE = 512
"""Bytes of a unit of rows whose answer, which has the same rows again, is worth compressing."""

_VERBS = {"hello": "say hello"}
_RENEWAL = "renew the certificate"


async def exchange(  # noqa: PLR0913 - one call, and how it is made
    session: aiohttp.ClientSession,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    *,
    what: str,
    patience: Patience = PATIENCE,
    again: bool = True,
    proxies: Proxies = DIRECT,
    note: Note = _UNCOUNTED.note,
) -> bytes:
    """POSTs `body`, or without one GETs, and returns the decompressed answer.

    Raises Transient («cannot reach hub …: cause») when no answer came, Refused or InvalidInput with the hub's
    own words when one did. `what` names the call in messages. Without `again` a body is sent once: it is long, and the
    hub may have kept a part of it.
    """
    timeout, proxy = patience.of(len(body or b"")), proxies.of(url)
    try:
        try:
            return await _ask(session, url, body, headers, timeout, proxy=proxy, note=note)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not again or isinstance(error, aiohttp.ClientConnectorError):
                raise
            return await _ask(session, url, body, headers, timeout, proxy=proxy, note=note)
    except (aiohttp.ClientError, OSError) as error:
        raise Transient(f"cannot reach hub {origin(url)}: {patience.cause_of(error)}") from error
    except Answer as answer:
        raise judge(answer, what, origin(url)) from None


def read_answer(answer: bytes, kind: type[T], what: str) -> T:
    """The hub's answer to the call `what`. Raises InvalidInput."""
    try:
        return decode(answer, kind, f"the hub's answer to {what}")
    except InvalidInput as error:
        raise InvalidInput(f"{error}. {NO_HUB}") from error


class HttpUplink:
    """One node's calls to its hub. The secret leaves only in a header, never in a message or log.

    Without a secret the session's certificate speaks for the node.
    Where the hub has several addresses, only `hello` looks for one that answers; everything else goes to that one.
    Calls are of class `priority`, units of that of their lane. `counts` are told the bytes of each lane.
    """

    def __init__(  # noqa: PLR0913 - where the hub is, who asks, and by which way
        self,
        session: aiohttp.ClientSession,
        hub: HubAddresses | str,
        node_id: str,
        secret: str,
        patience: Patience = PATIENCE,
        *,
        proxies: Proxies = DIRECT,
        turns: Turns | None = None,
        priority: Priority = "high",
        counts: Mapping[Lane, LaneCounters] | None = None,
    ) -> None:
        self._session = session
        self._proxies = proxies
        self._turns = turns
        self._priority = priority
        self._counts = counts or {}
        self._patience = patience
        self._hubs = HubAddresses([hub]) if isinstance(hub, str) else hub
        self._headers = {"Authorization": f"Bearer {node_id}.{secret}"} if secret else {}

    async def hello(self, hello: Hello) -> HelloReply:
        """Says hello at one address after the other until one answers. A refusal is an answer; Busy is none. Waits for no turn."""
        body = encode(hello)
        reply = await self._at_any(
            lambda hub: self._call("hello", body, HelloReply, at=hub, waits=False)
        )
        self._hubs.told(reply.hubs)
        return reply

    async def renew(self, renew: Renew) -> Renewed:
        """Asks for the next certificate, as `hello` does. Raises as `exchange`."""

        async def ask(hub: str) -> Renewed:
            said = await exchange(
                self._session, f"{hub}/trust/v1/renew", encode(renew), self._headers,
                what=_RENEWAL, patience=self._patience, proxies=self._proxies,
            )  # fmt: skip
            return read_answer(said, Renewed, _RENEWAL)

        return await self._at_any(ask)

    async def _at_any(self, ask: Callable[[str], Awaitable[T]]) -> T:
        failures: list[Transient] = []
        for address in self._hubs.in_turn():
            try:
                reply = await ask(address)
            except Transient as error:
                failures.append(error)
                continue
            if address != self._hubs.current:
                log.warning("%s; going on at %s", failures[0], address)
            self._hubs.answered(address)
            return reply
        if len(failures) == 1:
            raise failures[0]
        said = "; ".join(map(str, failures))
        busy = [failure.after for failure in failures if isinstance(failure, Busy)]
        raise Busy(said, min(busy)) if busy else Transient(said)

    async def push(self, unit: PushUnit) -> PushReply:
        plain = encode(unit)
        body, headers = compress(plain), _ZSTD
        if unit.lane not in RECORD_LANES and len(body) >= _LARGE_STATE:
            headers = _ZSTD | _ACCEPT
        counted = self._counts.get(unit.lane)
        if counted is not None:
            counted.plain += len(plain)
            counted.compressed += len(body)
        priority = self._turns.of_lane(unit.lane) if self._turns else None
        return await self._call("push", body, PushReply, headers, priority=priority)

    async def pull(self, pull: Pull) -> PullReply:
        most = self._turns.piece if self._turns else 0
        if most:
            pull = msgspec.structs.replace(pull, most=most)
        return await self._call("pull", encode(pull), PullReply, _ACCEPT, answer=most)

    async def ask(self, call: str, question: object, kind: type[T], *, what: str) -> T:
        """A call of what is loaded only where it is needed (`row_hub`). Raises as `exchange`."""
        body = compress(encode(question))
        most = self._turns.piece if self._turns else 0
        return await self._call(call, body, kind, _ZSTD | _ACCEPT, what=what, answer=most)

    async def models(self, names: Sequence[str]) -> NamedModels:
        """The models of these names, at most MAX_NAMED. Raises as `exchange`."""
        query = urlencode([("name", name) for name in names])
        return await self._call(f"models?{query}", None, NamedModels, what="ask for models")

    async def file_state(self, sha256: str) -> FileState:
        """As `ports.FileHub`. Raises as `exchange`, and so do the next three."""
        return await self._call(f"files/{sha256}", None, FileState, what="send a file")

    async def offer_file(self, manifest: FileManifest) -> FileState:
        body = compress(encode(manifest))
        return await self._call("files", body, FileState, _ZSTD, what="send a file")

    async def send_file(self, sha256: str, start: int, data: bytes) -> FileState:
        call = f"files/{sha256}?start={start}"
        return await self._call(call, data, FileState, what="send a file", again=False)

    async def files_held(self, sha256s: Collection[str]) -> set[str]:
        body = encode(FilesHeld(list(sha256s)))
        return set((await self._call("files/held", body, FilesHeld, what="ask for files")).files)

    async def live(self, run: str) -> WebSocketLive:
        """Opens the live link. Raises Transient or Refused when it cannot be had."""
        hub = self._hubs.current
        url = f"{hub}/sync/v1/link"
        try:
            opened = await self._session.ws_connect(
                url,
                headers=self._headers | {RUN_HEADER: run},
                autoping=False,
                max_msg_size=MAX_BODY,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                proxy=self._proxies.of(url),
            )
        except aiohttp.WSServerHandshakeError as error:
            raise Refused(f"cannot open the live link: the hub answered {error.status}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(f"cannot reach hub {hub}: {self._patience.cause_of(error)}") from error
        if self._turns is not None:
            self._turns.note(HEADS)
        return WebSocketLive(
            opened,
            ping_every=self._patience.ping_every,
            silence=self._patience.silence,
            turns=self._turns,
        )

    async def _call(  # noqa: PLR0913 - as `exchange`
        self,
        call: str,
        body: bytes | None,
        kind: type[T],
        headers: dict[str, str] | None = None,
        *,
        what: str = "",
        at: str = "",
        again: bool = True,
        priority: Priority | None = None,
        answer: int = 0,
        waits: bool = True,
    ) -> T:
        """Takes a turn for what is sent and about `answer` bytes that come back, unless it must not wait."""
        async with self._turn(priority, len(body or b"") + answer, waits=waits) as turn:
            said = await exchange(
                self._session,
                f"{at or self._hubs.current}/sync/v1/{call}",
                body,
                self._headers | (headers or {}),
                what=what or _VERBS.get(call, call),
                patience=self._patience,
                again=again,
                proxies=self._proxies,
                note=turn.note,
            )
        return read_answer(said, kind, what or call)

    def _turn(
        self, priority: Priority | None, size: int, *, waits: bool
    ) -> AbstractAsyncContextManager[Turn]:
        if self._turns is None:
            return contextlib.nullcontext(_UNCOUNTED)
        if not waits:
            return contextlib.nullcontext(self._turns)
        return self._turns.turn(priority or self._priority, HEADS + on_the_wire(size))


async def _ask(  # noqa: PLR0913 - as `exchange`
    session: aiohttp.ClientSession,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    timeout: ClientTimeout,
    *,
    proxy: str | None,
    note: Note,
) -> bytes:
    sent = HEADS + on_the_wire(len(body or b""))
    try:
        async with session.request(
            "GET" if body is None else "POST",
            url,
            data=body,
            headers=headers,
            skip_auto_headers=_UNREAD,
            timeout=timeout,
            allow_redirects=False,
            proxy=proxy,
        ) as response:
            answer = await _read(response, note)
            if not 200 <= response.status < 300:
                raise Answer(response.status, answer, response.headers.get("Retry-After", ""))
            return answer
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        sent = 0  # it never left
        raise
    finally:
        note(sent)


async def _read(response: aiohttp.ClientResponse, note: Note) -> bytes:
    parts = bytearray()
    async for part in response.content.iter_any():
        parts += part
        note(on_the_wire(len(part)))
        if len(parts) > MAX_BODY:
            raise InvalidInput(
                f"cannot read the hub's answer: it is larger than {MAX_BODY} bytes. {NO_HUB}"
            )
    if response.headers.get("Content-Encoding") == "zstd":
        return decompress(bytes(parts), "the hub's answer")
    return bytes(parts)
