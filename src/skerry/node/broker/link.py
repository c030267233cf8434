"""The agent's end of the gate's control socket: what was captured comes in, what the node says goes out.

The gate does not need the agent, nor the agent the gate: while there is no connection, messages are captured and stay in
the journal, and what is to be published is refused as Transient.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path

import msgspec

from skerry.gate import VERSION
from skerry.gate.journal import KEPT, QOS, Entry
from skerry.keeper import protocol
from skerry.keeper.protocol import Fields, Message, ProtocolError
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Refused, Transient
from skerry.kit.own_hosts import LOOPBACK
from skerry.node.broker.reading import Cursor, is_whole, sessions
from skerry.node.twin_ports import NotSaid

_AGAIN_SECONDS = 0.2
_TRIES_IN_SILENCE = 25
"""A gate that starts or restarts takes less."""

_READS_PER_TURN = 64

LINGER = NS
"""As long samples wait for others, in the journal: in memory, and not lost with the agent."""

_ASKING = ("/command", "cyberwave/ping/")

Hold = Callable[[list[int]], Awaitable[None]]
"""Has sockets outlive who listens at them; they are no longer the caller's. Raises Transient."""

log = logging.getLogger(__name__)


class Captured(msgspec.Struct, frozen=True):
    """Entries of the journal in order; `session` and their `n` say whether they are stored already."""

    session: str
    entries: list[Entry]


class GateLink:
    """The connection to the gate whose sockets are in `run`. `stored_of` says how much of a session the store has.

    `hold` is given what the gate listens at, for the gate that comes after it.
    """

    def __init__(
        self,
        run: Path,
        journal: Path,
        clock: Clock,
        stored_of: Callable[[str], int],
        hold: Hold,
    ) -> None:
        self.changed = Bell()
        """Rings when `unreached` may say something else."""
        self.session = ""
        """Of the gate that is connected; empty without one."""
        self._told = ("", 0)
        self._run = run
        self._journal = journal
        self._clock = clock
        self._stored_of = stored_of
        self._hold_listeners = hold
        self._sock: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._lost = asyncio.Event()
        self._news = asyncio.Event()
        self._hosts: Sequence[str] = ()
        self._served: Collection[str] = ()
        """Those of `_hosts` at which this gate listens."""
        self._kept: Collection[str] = ()
        """The addresses that are this gate's and the next one's, and nobody else's between them."""
        self._moved = asyncio.Event()
        self._held: Collection[str] = ()

    async def keep(self) -> None:
        """Connects, and again whenever the connection is lost; for ever."""
        said, tries = "", 0
        while True:
            try:
                await self._connect()
                said, tries = "", 0
                await self._keep_addresses()
                await self._lost.wait()
            except (OSError, Refused, Transient, ProtocolError) as error:
                self.close()
                tries += 1
                if str(error) != said and tries >= _TRIES_IN_SILENCE:
                    said = str(error)
                    cause = getattr(error, "strerror", None) or error
                    log.warning("cannot reach the gate at %s: %s; trying on", self._run, cause)
            await self._clock.sleep(_AGAIN_SECONDS)

    async def _keep_addresses(self) -> None:
        """Those of this gate, now and whenever they are others, for as long as it is connected."""
        said = ""
        while session := self.session:
            self._moved.clear()
            try:
                await self._hand_over(session)
            except Transient as error:
                if self.session and str(error) != said:
                    said = str(error)
                    log.warning("%s; trying on", said)
                await self._clock.sleep(_AGAIN_SECONDS)
            else:
                await self._moved.wait()

    async def _hand_over(self, session: str) -> None:
        served = {LOOPBACK, *self._served}
        try:
            reply = await self._ask("listeners", [])
        except Refused:
            log.info("the gate is of an earlier version: until it restarts, nobody holds its ports")
        else:
            await self._hold_listeners(reply.take_descriptors())
        if self.session == session:
            self._kept = served & {LOOPBACK, *self._served}
            self.changed.ring()

    async def captured(self) -> AsyncIterator[Captured]:
        """What clients have published, for ever; each batch is stored, and `stored` told, before the next is asked for."""
        while True:
            self._news.clear()
            if not self.session:
                await self._news.wait()
                continue
            session = self.session
            for earlier in sessions(self._journal):
                if earlier != session:
                    async for batch in self._all_of(earlier):
                        yield batch
            # An agent before this one may have told it more than this one has stored.
            told = self._told[1] if self._told[0] == session else 0
            cursor = Cursor(self._journal, session, max(self._stored_of(session), told))
            while self.session == session:
                entries = cursor.batch()
                if entries:
                    yield Captured(session, await self._lingered(cursor, entries))
                else:
                    await self._news.wait()
                self._news.clear()

    async def _lingered(self, cursor: Cursor, entries: list[Entry]) -> list[Entry]:
        """More of them, where nobody waits for these: what is stored together is one write of the disk."""
        until = self._clock.monotonic_ns() + LINGER
        more = entries
        while not any(map(_is_urgent, more)) and cursor.session == self.session:
            left = until - self._clock.monotonic_ns()
            if left <= 0 or is_whole(entries):
                break
            self._news.clear()
            more = cursor.batch()
            entries = entries + more
            if not more:
                await self._news_within(left / NS)
        return entries

    async def _news_within(self, seconds: float) -> None:
        news = asyncio.ensure_future(self._news.wait())
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({news, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            timer.cancel()

    async def _all_of(self, session: str) -> AsyncIterator[Captured]:
        cursor = Cursor(self._journal, session, self._stored_of(session))
        while entries := cursor.batch():
            yield Captured(session, entries)
        cursor.remove()

    def stored(self, captured: Captured) -> None:
        """All of it is durable: the gate may forget it, and acknowledge what waited for that."""
        if self._sock and captured.session == self.session:
            n = captured.entries[-1].n
            self._send([("op", "stored"), ("session", captured.session), ("n", n)])

    async def tokens(self) -> None:
        """The tokens file has changed. Without a gate nothing is to be done: it reads the file when it starts."""
        if self._sock:
            await self._ask("tokens", [("path", self._run / "tokens")])

    async def kick(self, digest: str) -> None:
        """Ends the connections of a token. Raises Transient, Refused."""
        await self._ask("kick", [("token", digest)])

    async def listen(self, hosts: Sequence[str]) -> list[str]:
        """Also at these addresses, from now on and after each restart of the gate; returns where it cannot, and why."""
        self._hosts = tuple(hosts)
        reply = await self._ask("addresses", [("host", host) for host in hosts])
        failed = reply.all("failed")
        self._served = {
            host for host in hosts if not any(each.startswith(f"{host}: ") for each in failed)
        }
        self._moved.set()
        return failed

    def unreached(self, host: str) -> str:
        """Why nobody is to be sent to the gate at an address of this device; empty: it listens there.

        Whoever listens there meanwhile may be anybody, and would be told the tokens of all who come. So it is not enough
        that the gate does: what it has must be held for the next one, too.
        """
        if not self.session:
            return "waits for the gate, to which this device's drivers and workers speak"
        if host not in self._kept:
            return f"waits for the gate to listen at {host}"
        return ""

    async def hold(self, workloads: Collection[str]) -> None:
        """Lets these publish nothing that counts, and no others, from now on and after each restart of the gate."""
        self._held = workloads
        if self._sock:
            await self._hold()

    async def _hold(self) -> None:
        try:
            await self._ask("hold", [("workload", name) for name in sorted(self._held)])
        except Refused as error:  # a gate of an earlier version, which goes on as it was
            log.warning("cannot hold %s at the gate: %s", ", ".join(sorted(self._held)), error)

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Publishes to the node's containers; returns once the broker has it. Raises Transient, Refused."""
        text = payload.decode("utf-8", "surrogateescape")
        await self._ask("publish", [("topic", topic), ("payload", text), ("qos", qos)])

    async def ask(self, topic: str, payload: bytes, response: str) -> bool:
        """As `twin_ports.Ask`. A gate of an earlier version says nothing about who listens."""
        text = payload.decode("utf-8", "surrogateescape")
        fields: Fields = [("topic", topic), ("payload", text), ("qos", 1), ("response", response)]
        reply = await self._ask("publish", fields)
        return reply.get("heard") != "0"

    def close(self) -> None:
        """Hangs up."""
        sock, self._sock = self._sock, None
        if sock:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self.session, self._served, self._kept = "", (), ()
        self._moved.set()
        self.changed.ring()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(Transient("the gate has hung up"))
        self._lost.set()
        self._news.set()

    async def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.settimeout(0)
            sock.connect(str(self._run / "control"))
        except OSError:
            sock.close()
            raise
        self._sock = sock
        self._lost.clear()
        asyncio.get_running_loop().add_reader(sock, self._receive)
        reply = await self._ask("hello", [("version", VERSION)])
        await self.tokens()
        if self._hosts:
            await self.listen(self._hosts)
        if self._held or reply.get("held"):
            await self._hold()
        self.session = reply.text("session")
        self._told = (self.session, reply.number("stored") if reply.get("stored") else 0)
        self.changed.ring()
        self._news.set()

    async def _ask(self, operation: str, fields: Fields) -> Message:
        number = str(next(self._numbers))
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        try:
            self._send([("op", operation), ("id", number), *fields])
            answer = await reply
        finally:
            del self._replies[number]
        error, text = answer.get("error"), answer.get("text") or ""
        if error in ("broker", "busy"):
            raise Transient(f"the gate cannot {operation}: {text}")
        if error:
            raise Refused(f"the gate refuses to {operation}: {text}")
        return answer

    def _send(self, fields: Fields) -> None:
        if self._sock is None:
            raise NotSaid("the gate is not there")
        try:
            protocol.transmit(self._sock, protocol.encode(fields))
        except BlockingIOError as error:
            raise NotSaid("the gate does not read") from error
        except OSError as error:
            self.close()
            raise NotSaid(f"the gate has hung up: {error.strerror}") from error

    def _receive(self) -> None:
        for _ in range(_READS_PER_TURN):
            if self._sock is None:
                return
            try:
                message = protocol.receive(self._sock)
            except BlockingIOError:
                return
            except (OSError, ProtocolError):
                message = None
            if message is None:
                self.close()
            elif message.get("event"):
                self._news.set()
            else:
                reply = self._replies.get(message.get("id") or "")
                if reply and not reply.done():
                    reply.set_result(message)
                else:
                    message.close()


def _is_urgent(entry: Entry) -> bool:
    """Whether somebody waits for it: an acknowledgement, an event, an answer to a command or a ping."""
    return bool(entry.flags & (QOS | KEPT)) or any(word in entry.topic for word in _ASKING)
