"""The hub over HTTP: hello, push, pull and the live link's WebSocket, by aiohttp.

Implements `node.ports.Uplink`, `FileHub` and `live_link.LiveSource`; `skerry.testing.FakeHub` is the other implementation.
`exchange` is shared with `enrol`. Every call may be repeated without harm, so one that met a connection
which the hub had just closed is made once more.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Collection, Sequence
from typing import TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp import ClientTimeout

from skerry.kit.authorities import authorities
from skerry.kit.errors import Busy, InvalidInput, Refused, SkerryError, Transient
from skerry.kit.one_line import one_line
from skerry.node.hub_addresses import HubAddresses
from skerry.node.ports import NotKnown
from skerry.node.sync.live import WebSocketLive
from skerry.wire.codec import MAX_BODY, compress, decode, decompress, encode
from skerry.wire.files import FileManifest, FilesHeld, FileState
from skerry.wire.link import RUN_HEADER
from skerry.wire.models import NamedModels
from skerry.wire.people import Problem
from skerry.wire.sync import Hello, HelloReply, Pull, PullReply, PushReply, PushUnit

log = logging.getLogger(__name__)

T = TypeVar("T")


class Patience(msgspec.Struct, frozen=True):
    """Seconds to wait before the hub counts as gone; `slowest` is the least bytes a second that a path may carry."""

    connect: float = 2.0
    answer: float = 5.0
    slowest: float = 4096.0
    ping_every: float = 20.0
    silence: float = 45.0

    def of(self, size: int) -> ClientTimeout:
        """For a request with a body of `size` bytes, which a slow path needs time to carry."""
        return ClientTimeout(
            total=None,
            connect=self.connect,
            sock_connect=self.connect,
            sock_read=self.answer + size / self.slowest,
        )


PATIENCE = Patience()
_BUSY = 429
_UNAVAILABLE = frozenset({_BUSY, 502, 503, 504})
"""Answers that say nothing about the request: a hub that is starting or busy, or a gateway without one."""

_NO_HUB = "Is this the address of a Skerry hub?"

_UNREAD = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would add to every call, and the hub reads none of: a push has more of them than values."""

_ACCEPT = {"Accept-Encoding": "zstd"}
_LARGE_STATE = 512
"""Bytes of a state unit whose answer, which has the same rows again, is worth compressing."""

_VERBS = {"hello": "say hello"}

_CAUSES = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
}


def open_session(patience: Patience = PATIENCE) -> aiohttp.ClientSession:
    """The connections to the hub; call it in the event loop, close it at the end.

    asyncio sets TCP_NODELAY. Idle connections are dropped before proxies drop them (often after 5 s).
    Answers are decompressed by the codec: aiohttp would need another zstd library.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(keepalive_timeout=4.0, ssl=authorities()),
        timeout=patience.of(0),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def exchange(  # noqa: PLR0913 - one call, and how it is made
    session: aiohttp.ClientSession,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    *,
    what: str,
    patience: Patience = PATIENCE,
    again: bool = True,
) -> bytes:
    """POSTs `body`, or without one GETs, and returns the decompressed answer.

    Raises Transient («cannot reach hub …: cause») when no answer came, Refused or InvalidInput with the hub's
    own words when one did. `what` names the call in messages. Without `again` a body is sent once: it is long, and the
    hub may have kept a part of it.
    """
    timeout = patience.of(len(body or b""))
    try:
        try:
            return await _ask(session, url, body, headers, timeout)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not again or isinstance(error, aiohttp.ClientConnectorError):
                raise
            return await _ask(session, url, body, headers, timeout)
    except (aiohttp.ClientError, OSError) as error:
        raise Transient(f"cannot reach hub {_origin(url)}: {cause_of(error, patience)}") from error
    except _Answer as answer:
        raise _judge(answer, what, _origin(url)) from None


def read_answer(answer: bytes, kind: type[T], what: str) -> T:
    """The hub's answer to the call `what`. Raises InvalidInput."""
    try:
        return decode(answer, kind, f"the hub's answer to {what}")
    except InvalidInput as error:
        raise InvalidInput(f"{error}. {_NO_HUB}") from error


class HttpUplink:
    """One node's calls to its hub. The secret leaves only in a header, never in a message or log.

    Where the hub has several addresses, only `hello` looks for one that answers; everything else goes to that one.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        hub: HubAddresses | str,
        node_id: str,
        secret: str,
        patience: Patience = PATIENCE,
    ) -> None:
        self._session = session
        self._patience = patience
        self._hubs = HubAddresses([hub]) if isinstance(hub, str) else hub
        self._headers = {"Authorization": f"Bearer {node_id}.{secret}"}

    async def hello(self, hello: Hello) -> HelloReply:
        """Says hello at one address after the other until one answers. A refusal is an answer; Busy is none."""
        failures: list[Transient] = []
        for address in self._hubs.in_turn():
            try:
                reply = await self._call("hello", encode(hello), HelloReply, at=address)
            except Transient as error:
                failures.append(error)
                continue
            if address != self._hubs.current:
                log.warning("%s; going on at %s", failures[0], address)
            self._hubs.answered(address)
            self._hubs.told(reply.hubs)
            return reply
        if len(failures) == 1:
            raise failures[0]
        busy = any(isinstance(failure, Busy) for failure in failures)
        raise (Busy if busy else Transient)("; ".join(map(str, failures)))

    async def push(self, unit: PushUnit) -> PushReply:
        body = compress(encode(unit))
        headers = {"Content-Encoding": "zstd"}
        if unit.lane == "state" and len(body) >= _LARGE_STATE:
            headers |= _ACCEPT
        return await self._call("push", body, PushReply, headers)

    async def pull(self, pull: Pull) -> PullReply:
        return await self._call("pull", encode(pull), PullReply, _ACCEPT)

    async def models(self, names: Sequence[str]) -> NamedModels:
        """The models of these names, at most MAX_NAMED. Raises as `exchange`."""
        query = urlencode([("name", name) for name in names])
        return await self._call(f"models?{query}", None, NamedModels, what="ask for models")

    async def file_state(self, sha256: str) -> FileState:
        """As `ports.FileHub`. Raises as `exchange`, and so do the next three."""
        return await self._call(f"files/{sha256}", None, FileState, what="send a file")

    async def offer_file(self, manifest: FileManifest) -> FileState:
        body, headers = compress(encode(manifest)), {"Content-Encoding": "zstd"}
        return await self._call("files", body, FileState, headers, what="send a file")

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
            )
        except aiohttp.WSServerHandshakeError as error:
            raise Refused(f"cannot open the live link: the hub answered {error.status}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(f"cannot reach hub {hub}: {cause_of(error, self._patience)}") from error
        return WebSocketLive(
            opened, ping_every=self._patience.ping_every, silence=self._patience.silence
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
    ) -> T:
        answer = await exchange(
            self._session,
            f"{at or self._hubs.current}/sync/v1/{call}",
            body,
            self._headers | (headers or {}),
            what=what or _VERBS.get(call, call),
            patience=self._patience,
            again=again,
        )
        return read_answer(answer, kind, what or call)


def cause_of(error: Exception, patience: Patience = PATIENCE) -> str:
    """Why there was no answer, in a few plain words."""
    for kind, words in (
        (aiohttp.ClientConnectorDNSError, "name not found"),
        (aiohttp.ConnectionTimeoutError, f"no connection within {patience.connect:g} s"),
        (TimeoutError, f"no answer for {patience.answer:g} s"),
        (aiohttp.ServerDisconnectedError, "connection closed without an answer"),
        (aiohttp.ClientPayloadError, "the answer was cut off"),
        (aiohttp.ClientResponseError, "it answers something else than HTTP"),
    ):
        if isinstance(error, kind):
            return words
    known = _CAUSES.get(error.errno or 0) if isinstance(error, OSError) else None
    return known or one_line(str(error)) or type(error).__name__


class _Answer(Exception):
    """The hub answered something else than 200."""

    def __init__(self, status: int, text: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.text = text


async def _ask(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    timeout: ClientTimeout,
) -> bytes:
    async with session.request(
        "GET" if body is None else "POST",
        url,
        data=body,
        headers=headers,
        skip_auto_headers=_UNREAD,
        timeout=timeout,
        allow_redirects=False,
    ) as response:
        answer = await _read(response)
        if not 200 <= response.status < 300:
            raise _Answer(response.status, answer)
        return answer


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts = bytearray()
    async for part in response.content.iter_any():
        parts += part
        if len(parts) > MAX_BODY:
            raise InvalidInput(
                f"cannot read the hub's answer: it is larger than {MAX_BODY} bytes. {_NO_HUB}"
            )
    if response.headers.get("Content-Encoding") == "zstd":
        return decompress(bytes(parts), "the hub's answer")
    return bytes(parts)


def _judge(answer: _Answer, what: str, hub: str) -> SkerryError:
    words, status = _words_of(answer), answer.status
    if status in _UNAVAILABLE:
        why = f": {words}" if words else ""
        kind = Busy if status == _BUSY else Transient
        return kind(f"cannot {what}: hub {hub} answered {status}{why}")
    if status in {401, 403}:
        return NotKnown(
            f"cannot {what}: hub {hub} does not know this node or its secret is wrong "
            f"({words or f'it answered {status}'}). Enrol it again: skerry node enroll --again"
        )
    if not words:
        return Refused(f"cannot {what}: {hub} answered {status}, as no Skerry hub does. {_NO_HUB}")
    said = words if words.startswith("cannot ") else f"cannot {what}: {words}"
    return InvalidInput(said) if status == 400 else Refused(said)


def _words_of(answer: _Answer) -> str:
    """What a hub says about an error; empty when it is none that answers so."""
    try:
        return decode(answer.text, Problem, "problem").error
    except InvalidInput:
        return ""


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
