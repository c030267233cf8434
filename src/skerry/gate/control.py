"""What the agent and the gate say to each other: version 2 (`skerry.gate.VERSION`), in messages of `skerry.keeper.protocol`.

    op         request fields            reply fields
    hello      version                   version pid session last stored clients, held if somebody is
    tokens     path                      count; the file is read again
    publish    topic payload qos         heard=0 where nobody has subscribed; once the broker has it
               response                  of a request: the topic that it is to be answered at
    kick       token (its digest)        count of connections ended
    stored     session n                 no reply; everything up to n need not be kept
    hold       workload…                 of these alone nothing that counts is taken (QoS 1 and 2, events) until it is said again
    addresses  host…                     failed=HOST: WHY for each where the gate cannot listen beside 127.0.0.1
    listeners                            with a descriptor of each listening socket: the next gate begins with them

    event      fields
    captured   session n                 the newest entry of the journal; at most each 20 ms
    clients    count

A request has `op` and `id`, its reply repeats `id`; one that failed has `error` (one word) and `text`. `hello` comes first
and attaches the agent; while one is attached, others are refused («busy»).
"""

from __future__ import annotations

import os
import socket

from skerry.gate import VERSION
from skerry.gate.capture import Capture
from skerry.gate.clients import Clients
from skerry.gate.journal import Journal
from skerry.gate.listeners import Listeners, accept
from skerry.gate.records import NamedTuple
from skerry.gate.tokens import Tokens
from skerry.gate.voice import Fate, Voice
from skerry.keeper.connections import Connection
from skerry.keeper.loop import Loop
from skerry.keeper.protocol import Fields, Message, ProtocolError

_LONGEST_TOPIC = 1000
_BETWEEN_NEWS = 0.02


class Parts(NamedTuple):
    """What the agent's requests are about."""

    tokens: Tokens
    clients: Clients
    capture: Capture
    journal: Journal
    voice: Voice
    listeners: Listeners


class Control:
    """The agent's side of the gate, at the socket `path`."""

    def __init__(self, path: str, loop: Loop, parts: Parts) -> None:
        self._loop = loop
        self._parts = parts
        self._agent: Connection | None = None
        self._told = 0
        self._telling = False
        self._listener = _listen(path)
        accept(self._listener, loop, self._welcome)
        parts.capture.on_taken = self._news
        parts.clients.on_change = self._news

    def _welcome(self, sock: socket.socket) -> None:
        Connection(sock, self._loop, self._handle, self._gone)

    def _gone(self, connection: Connection) -> None:
        if connection is self._agent:
            self._agent = None

    def _handle(self, connection: Connection, message: Message) -> None:
        operation = message.get("op")
        try:
            if operation == "hello":
                self._hello(connection, message)
            elif connection is not self._agent:
                _refuse(connection, message, "stranger", "say hello first")
            elif operation == "stored":
                if message.text("session") == self._parts.journal.session:
                    self._parts.capture.discard(message.number("n"))
            elif operation == "publish":
                self._publish(connection, message)
            elif operation == "listeners":
                connection.send([("id", message.text("id"))], self._parts.listeners.sockets())
            else:
                self._reply(connection, message, self._done(str(operation), message))
        except ProtocolError as error:
            _refuse(connection, message, "malformed", str(error))

    def _hello(self, connection: Connection, message: Message) -> None:
        if message.number("version") != VERSION:
            _refuse(connection, message, "version", f"this gate speaks version {VERSION}")
            return
        if self._agent and self._agent is not connection and not self._agent.hung_up():
            _refuse(connection, message, "busy", "another agent is attached")
            return
        self._agent = connection
        journal = self._parts.journal
        self._told = journal.last
        told = [
            ("session", journal.session),
            ("last", journal.last),
            ("stored", journal.stored),
            ("clients", len(self._parts.clients)),
            *([("held", 1)] if self._parts.capture.held else []),
        ]
        self._reply(connection, message, [("version", VERSION), ("pid", os.getpid()), *told])

    def _done(self, operation: str, message: Message) -> list[tuple[str, object]]:
        parts = self._parts
        match operation:
            case "tokens":
                try:
                    count = parts.tokens.load(message.text("path"))
                except (OSError, ValueError) as error:
                    raise ProtocolError(f"cannot read the tokens: {error}") from error
                parts.clients.look_at_tokens()
                return [("count", count)]
            case "kick":
                return [("count", parts.clients.kick(message.text("token")))]
            case "addresses":
                return [
                    ("failed", failed) for failed in parts.listeners.listen(message.all("host"))
                ]
            case "hold":
                self._parts.capture.hold(frozenset(message.all("workload")))
                return []
            case _:
                raise ProtocolError(f"there is no operation «{operation}»")

    def _publish(self, connection: Connection, message: Message) -> None:
        topic, qos = message.text("topic"), message.number("qos")
        payload = message.text("payload").encode("utf-8", "surrogateescape")
        response = message.get("response") or ""
        if qos not in (0, 1) or not _is_topic(topic) or (response and not _is_topic(response)):
            raise ProtocolError(
                f"cannot publish with QoS {qos} to «{topic}»: only 0 and 1, to one topic"
            )

        def done(fate: Fate) -> None:
            if fate.wrong:
                _refuse(connection, message, "broker", fate.wrong)
            else:
                self._reply(connection, message, [("heard", int(fate.heard))])

        self._parts.voice.say(topic, payload, qos, done, response)

    def _reply(self, connection: Connection, message: Message, fields: Fields) -> None:
        connection.send([("id", message.text("id")), *fields])

    def _news(self) -> None:
        if self._agent and not self._telling:
            self._telling = True
            self._loop.later(_BETWEEN_NEWS, self._tell)

    def _tell(self) -> None:
        self._telling = False
        if self._agent is None:
            return
        journal = self._parts.journal
        if journal.last > self._told:
            self._told = journal.last
            self._agent.send(
                [("event", "captured"), ("session", journal.session), ("n", journal.last)]
            )
        else:
            self._agent.send([("event", "clients"), ("count", len(self._parts.clients))])


def _is_topic(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_TOPIC and text.isprintable() and not set(text) & set("+#")


def _refuse(connection: Connection, message: Message, error: str, text: str) -> None:
    connection.send([("id", message.get("id") or ""), ("error", error), ("text", text)])


def _listen(path: str) -> socket.socket:
    """Whoever has left a socket there is dead: the gate has its TCP ports, which two cannot have."""
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(8)
    listener.settimeout(0)
    return listener
