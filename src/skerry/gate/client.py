"""One client and its own connection to the broker: checked and written down in one direction, passed on in the other.

    signing in ─► at the door ─► greeted ─► open ─► gone
       │ CONNECT     │ the broker may be away: held   │
       └─────────────┴── refused ─────────────────────┘

Whatever a client may not do is answered with MQTT's own refusal, and with the end of the connection where there is none.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from skerry.gate import packets
from skerry.gate.answers import Partial, Withheld
from skerry.gate.fields import Malformed
from skerry.gate.journal import NoRoom
from skerry.gate.packets import Connect, Packet, Passage, Publish, Reader
from skerry.gate.room import SLOWEST, SMALL, Place
from skerry.gate.sessions import Session
from skerry.gate.streams import FULL, Stream
from skerry.gate.surroundings import Surroundings
from skerry.gate.tokens import Holder
from skerry.gate.topics import Scope, is_client_id, may_be_answered_at, may_publish, may_subscribe

SIGN_IN_SECONDS = 10.0
HOLD_SECONDS = 8.0
"""Less than a client waits for its CONNACK (10 s): its first try succeeds while the broker restarts."""

HEAR_OUT_SECONDS = 2.0

_CONNECT_BYTE = bytes((packets.CONNECT << 4,))
_BEFORE_CONNECT = 64 * 1024
_MOST_REFUSED = 100
_MOST_TRIES = 3
_MOST_UNANSWERED = 1000
_BAD_ID = 0x85
_BAD_VERSION = 0x84
_WITH_WILL = 4
_NOT_FORWARDED = frozenset(
    (packets.CONNECT, packets.CONNACK, packets.SUBACK, packets.UNSUBACK, packets.PINGRESP, packets.AUTH, 0)
)  # fmt: skip


class Client:
    """An accepted connection, until it is gone; then `left` is called. `admits`: whether one more may come in with its token."""

    def __init__(
        self,
        sock: socket.socket,
        around: Surroundings,
        admits: Callable[[Client], bool],
        left: Callable[[Client], object],
    ) -> None:
        self.holder: Holder | None = None
        """Who it is, once it has signed in."""
        self._around = around
        self._admits = admits
        self._left = left
        self._down = Stream(sock, around.loop, self._said, self._end)
        self._up: Stream | None = None
        self._place = Place(
            around.room,
            lambda: self._down.resume("room"),
            lambda: self.end(packets.QUOTA_EXCEEDED),
        )
        self._reader = Reader(_BEFORE_CONNECT)
        self._passage = Passage()
        self._connect: Connect | None = None
        self._id = self._name = self._assigned = self._held_topic = ""
        self._accepted = self._farewell = False
        self._at_door = self._ended = False
        self._held: Packet | None = None
        self._withheld = Withheld()
        self._between: list[bytes] = []
        self._partial = Partial()
        self._session: Session | None = None
        self._refused, self._tries = 0, _MOST_TRIES
        self._refused_ids: set[int] = set()

    def end(self, reason: int) -> None:
        """Sends it away; in MQTT 5 with the reason."""
        if self._accepted and self._connect and self._connect.level == 5 and self._passage.between:
            self._down.send(packets.disconnect(reason))
        self._end()

    def rescope(self, scope: Scope) -> None:
        """Its token is good for this from now on."""
        if self.holder:
            self.holder = self.holder._replace(scope=scope)

    def _end(self) -> None:
        """Every end comes through here, once."""
        if self._ended:
            return
        self._ended = True
        self._around.capture.untell(id(self))
        self._place.give_back()
        if self._at_door:
            self._leave_door()
        self._leave_will()
        if self._held and self._held_topic and self.holder:
            self._around.capture.miss(self.holder.scope, self._held_topic)
        if self._session and self.holder:
            self._around.sessions.close(self.holder.digest, self._id, self._session)
        self._left(self)
        if self._up:
            self._up.finish()
        self._down.finish()

    def _leave_will(self) -> None:
        """The broker publishes it, for it sees no DISCONNECT either."""
        will = self._connect.will if self._accepted and self._connect else None
        if will is None or self.holder is None or self._farewell:
            return
        scope = self.holder.scope
        try:
            self._around.capture.take(self._id, scope, packets.left_behind(will))
        except NoRoom:
            self._around.capture.miss(scope, will.topic)

    # From the client

    def _said(self, data: bytes) -> None:
        try:
            self._check_beginning(data)
            for packet in self._reader.feed(data):
                self._handle(packet)
                if self._held or self._ended or not self._accepted:
                    break
        except Malformed:
            self.end(0x81)
        if not self._ended:
            self._make_room()
            if self._up and self._up.when_relieved(self._relieved):
                self._down.pause("broker")

    def _relieved(self) -> None:
        self._down.resume("broker")
        self._make_room()

    def _make_room(self) -> None:
        """For the large packet whose beginning has come; what was taken counts until the broker has it."""
        size = self._reader.wanted
        if size > SMALL:
            token = self.holder.scope.number if self.holder else 0
            if not self._place.take(self._reader.count, size, token):
                self._down.pause("room")
        elif not (self._up and self._up.waiting > FULL):
            self._place.give_back()

    def _check_beginning(self, data: bytes) -> None:
        """Whoever speaks another protocol is not waited for."""
        if not (self._connect or self._reader.waiting or data.startswith(_CONNECT_BYTE)):
            raise Malformed("the first packet is no CONNECT")

    def _go_on(self) -> None:
        """With what has come and was not looked at."""
        if not self._ended:
            self._said(b"")

    def _handle(self, packet: Packet) -> None:
        if self._connect is None:
            self._sign_in(packet)
        elif packet.kind == packets.PUBLISH:
            self._publish(packet)
        elif packet.kind == packets.SUBSCRIBE:
            self._subscribe(packet)
        elif packet.kind == packets.UNSUBSCRIBE:
            self._unsubscribe(packet)
        elif packet.kind == packets.PUBREL and self._was_refused(packet):
            self._to_client(packets.unknown_pubrel(packets.packet_id_of(packet.body)))
        elif packet.kind in _NOT_FORWARDED:
            raise Malformed(f"a client sends no packet of type {packet.kind} now")
        else:
            if packet.kind == packets.DISCONNECT:
                if self._session:
                    self._session.leave(packet.body)
                self._farewell = packet.body[:1] != bytes((_WITH_WILL,))
            self._to_broker(packet.raw)
            if packet.kind == packets.DISCONNECT:
                self._end()

    def _sign_in(self, packet: Packet) -> None:
        try:
            asked = packets.read_connect(packet.body)
        except packets.UnknownVersion:
            self._turn_away(4, _BAD_VERSION)
            return
        holder = self._around.tokens.holder(asked.user, asked.password)
        if holder is None or (asked.will and not may_publish(holder.scope, asked.will.topic)):
            self._turn_away(asked.level, packets.NOT_AUTHORIZED)
            return
        if not is_client_id(asked.client_id):
            self._turn_away(asked.level, _BAD_ID)
            return
        self._connect = asked._replace(user=None, password=None)
        self.holder = holder
        self._assigned = "" if asked.client_id else f"gate-{os.urandom(8).hex()}"
        self._name = asked.client_id or self._assigned
        self._id = f"{holder.digest[:16]}-{holder.scope.mark()}-{self._name}"
        if self._admits(self):
            self._session = self._around.sessions.open(holder.digest, self._id, asked)
        if self._session is None:
            self._turn_away(asked.level, packets.QUOTA_EXCEEDED)
            return
        self._reader.limit = self._around.largest
        self._down.pause("door")
        self._around.broker.enter(HOLD_SECONDS, self._arrived)

    def _turn_away(self, level: int, reason: int) -> None:
        self._down.send(packets.refused_connack(level, reason))
        self._end()

    def _publish(self, packet: Packet) -> bool:
        """Takes or refuses a message; False if it has to wait. Raises Malformed."""
        connect, holder = self._signed_in()
        message = packets.read_publish(packet, connect.level)
        if message.alias:
            raise Malformed("it uses a topic alias, and none was offered")
        if not self._may_publish(message):
            self._refuse(message, packets.NOT_AUTHORIZED)
            return True
        try:
            n = self._around.capture.take(self._id, holder.scope, message)
        except NoRoom:
            if message.qos and connect.level == 5:
                self._refuse(message, packets.QUOTA_EXCEEDED)
                return True
            self._hold(packet, message)
            return False
        if message.qos:
            self._withheld.expect(message.packet_id, n)
            self._refused_ids.discard(message.packet_id)
            self._around.capture.tell(id(self), self._progress)
            if len(self._withheld) >= _MOST_UNANSWERED:
                self._down.pause("answers")
        self._to_broker(packets.unretained(packet))
        return True

    def _may_publish(self, message: Publish) -> bool:
        _, holder = self._signed_in()
        response = message.response_topic
        return may_publish(holder.scope, message.topic) and (
            response is None or may_be_answered_at(holder.scope, response, self._name)
        )

    def _refuse(self, message: Publish, reason: int) -> None:
        connect, _ = self._signed_in()
        if reason == packets.NOT_AUTHORIZED:
            self._refused += 1
        if self._refused >= _MOST_REFUSED or (message.qos and connect.level != 5):
            self.end(reason)
        elif message.qos:
            self._refused_ids.add(message.packet_id)
            self._to_client(packets.refused_publish(message.qos, message.packet_id, reason))

    def _was_refused(self, packet: Packet) -> bool:
        """Some clients go on with QoS 2 after a refusal; the broker must not say that all is well."""
        packet_id = packets.packet_id_of(packet.body)
        was = packet_id in self._refused_ids
        self._refused_ids.discard(packet_id)
        return was

    def _hold(self, packet: Packet, message: Publish) -> None:
        """There is no room for what must not be lost: it waits, and with it all that comes after it."""
        self._held, self._held_topic = packet, "" if message.qos else message.topic
        self._down.pause("journal")
        self._around.capture.tell(id(self), self._progress)

    def _progress(self) -> None:
        """The agent has stored something: answers may go, and what was held may come."""
        for answer in self._withheld.due(self._around.capture.stored):
            self._to_client(answer)
        if len(self._withheld) < _MOST_UNANSWERED:
            self._down.resume("answers")
        held, self._held = self._held, None
        if held is not None and self._publish(held):
            self._down.resume("journal")
            self._go_on()

    def _subscribe(self, packet: Packet) -> None:
        connect, holder = self._signed_in()
        asked = packets.read_subscribe(packet.body, connect.level)
        allowed = [may_subscribe(holder.scope, topic, self._name) for topic, _ in asked.filters]
        more = [topic for (topic, _), may in zip(asked.filters, allowed, strict=True) if may]
        if self._session and not self._around.sessions.add(holder.digest, self._session, more):
            self.end(packets.QUOTA_EXCEEDED)
            return
        to_broker, to_client = self._partial.ask(asked, allowed, connect.level)
        self._to_broker(to_broker)
        self._to_client(to_client)

    def _unsubscribe(self, packet: Packet) -> None:
        connect, _ = self._signed_in()
        if self._session:
            self._session.filters -= set(packets.read_unsubscribe(packet.body, connect.level))
        self._to_broker(packet.raw)

    def _signed_in(self) -> tuple[Connect, Holder]:
        if self._connect is None or self.holder is None:
            raise Malformed("it has not signed in")
        return self._connect, self.holder

    def _to_broker(self, raw: bytes) -> None:
        if self._up:
            self._up.send(raw)

    # From the broker

    def _arrived(self, sock: socket.socket | None) -> None:
        if self._ended or not self._down.open:
            if sock is not None:
                sock.close()
                self._around.broker.through()
            return
        connect, _ = self._signed_in()
        if sock is None:
            self._turn_away(connect.level, packets.UNAVAILABLE)
            return
        self._up = Stream(sock, self._around.loop, self._heard, self._broker_gone)
        self._at_door = True
        self._up.send(packets.connect(connect, self._id))

    def _leave_door(self) -> None:
        self._at_door = False
        self._around.broker.through()

    def _broker_gone(self) -> None:
        if self._at_door:
            # It ended before it had greeted us, and another comes, perhaps in time; or it does not take what this one asks.
            self._leave_door()
            self._up, self._passage = None, Passage()
            self._tries -= 1
            if self._tries:
                self._around.broker.enter(HOLD_SECONDS, self._arrived)
            else:
                self._arrived(None)
            return
        # It takes what it writes from now on for sent: it is heard until it has noticed.
        self._up = None
        self._down.resume("broker")
        self._down.hear_out(HEAR_OUT_SECONDS)

    def _heard(self, data: bytes) -> None:
        try:
            for part in self._passage.feed(data):
                self._answer(part)
                if self._ended:
                    return
        except Malformed:
            self._end()
            return
        self._relieve_client()

    def _relieve_client(self) -> None:
        up = self._up
        if up and self._down.when_relieved(lambda: up.resume("client"), SLOWEST):
            up.pause("client")

    def _answer(self, part: Packet | bytes) -> None:
        if isinstance(part, bytes):
            self._down.send(part)
            if self._passage.between:
                for raw in self._between:
                    self._down.send(raw)
                self._between.clear()
        elif not self._accepted:
            self._greet(part)
        elif part.kind in (packets.PUBACK, packets.PUBREC):
            self._withheld.come(part)
            self._progress()
        elif part.kind == packets.SUBACK:
            connect, _ = self._signed_in()
            self._down.send(self._partial.whole(part, connect.level))
        else:
            self._down.send(part.raw)

    def _greet(self, packet: Packet) -> None:
        connect, _ = self._signed_in()
        if packet.kind != packets.CONNACK:
            raise Malformed("the broker's first packet is no CONNACK")
        raw, accepted = packets.connack(packet, connect.level, self._assigned or None)
        self._leave_door()
        self._down.send(raw)
        if not accepted:
            self._end()
            return
        self._accepted = True
        self._down.resume("door")
        self._go_on()

    def _to_client(self, raw: bytes) -> None:
        """Of our own, or late: never into the middle of a message that is passing."""
        if self._passage.between:
            self._down.send(raw)
        else:
            self._between.append(raw)
