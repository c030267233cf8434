"""MQTT 3.1.1 and 5 on the wire: cutting a stream into packets, and the few packets that the gate looks into.

Pure: bytes in, values and bytes out. A peer that breaks the format raises Malformed; it is not listened to any further.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from skerry.gate.fields import Fields, Malformed, integer_of, properties_of, text_of, without
from skerry.gate.records import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)

NOT_AUTHORIZED = 0x87
UNAVAILABLE = 0x88
QUOTA_EXCEEDED = 0x97
_RETURN_CODES = {NOT_AUTHORIZED: 5, UNAVAILABLE: 3, 0x85: 2, 0x84: 1, 0x86: 4}
"""Of a CONNACK in 3.1.1, which has other numbers."""
FAILURE_311 = 0x80
"""Of a filter in a SUBACK of 3.1.1."""

_RESPONSE_TOPIC, _CORRELATION = 0x08, 0x09
_TOPIC_ALIAS = 0x23
_TOPIC_ALIAS_MAXIMUM = 0x22
_ASSIGNED_CLIENT_ID = 0x12
_AUTH_METHOD = 0x15
_LONGEST_HEADER = 5
LONGEST_OTHER = 64 * 1024
"""Bytes of a packet that is no PUBLISH: many small fields take long to look at, and no client needs so many."""
_NO_SUBSCRIBERS = b"\x10"


class Packet(NamedTuple):
    """A whole packet: `kind` and `flags` of its first byte, all its bytes, and where in them the length ends."""

    kind: int
    flags: int
    raw: bytes
    at: int

    @property
    def body(self) -> bytes:
        """What follows the length."""
        return self.raw[self.at :]


class Connect(NamedTuple):
    """What a client asks for. `level` is 4 (3.1.1) or 5."""

    level: int
    clean: bool
    keepalive: int
    properties: bytes
    client_id: str
    will: Will | None
    user: str | None
    password: bytes | None


class Will(NamedTuple):
    """What a client leaves to be published when it is lost."""

    qos: int
    properties: bytes
    topic: str
    payload: bytes


class Publish(NamedTuple):
    """A PUBLISH. `packet_id` is 0 with QoS 0; `alias` and `response_topic` are absent in 3.1.1."""

    qos: int
    dup: bool
    topic: str
    packet_id: int
    payload: memoryview
    alias: bool
    response_topic: str | None


class Subscribe(NamedTuple):
    """A SUBSCRIBE: filters with their option bytes, in order."""

    packet_id: int
    properties: bytes
    filters: tuple[tuple[str, int], ...]


class Reader:
    """Cuts one direction of a connection into packets. A packet of more than `limit` bytes is Malformed."""

    __slots__ = ("_buffer", "count", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        """Of the packets that it has given out."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that are whole now; what is not taken comes with the next call. Raises Malformed."""
        buffer = self._buffer
        buffer += data
        while (head := head_of(buffer, 0)) is not None:
            size = head[0] + head[1]
            is_message = buffer[0] >> 4 == PUBLISH
            limit = self.limit if is_message else min(self.limit, LONGEST_OTHER)
            if size > limit:
                raise Malformed(f"a packet has {size} bytes, at most {limit} are taken")
            if len(buffer) < size:
                return
            raw = bytes(memoryview(buffer)[:size])
            del buffer[:size]
            self.count += 1
            yield Packet(raw[0] >> 4, raw[0] & 15, raw, head[0])

    @property
    def waiting(self) -> int:
        """How many bytes it holds."""
        return len(self._buffer)

    @property
    def wanted(self) -> int:
        """How many bytes the packet has that comes next; 0 while that is not known, or is no length."""
        try:
            head = head_of(self._buffer, 0)
        except Malformed:
            return 0
        return head[0] + head[1] if head else 0


class Passage:
    """The other direction, from the broker: PUBLISH passes in pieces as it comes, other packets whole.

    A piece that ends in the middle of a PUBLISH must not have anything put after it: `between` says whether one may.
    """

    __slots__ = ("_buffer", "_passing")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._passing = 0

    @property
    def between(self) -> bool:
        """Whether what came out so far ends with a whole packet."""
        return self._passing == 0

    def feed(self, data: bytes) -> Iterator[Packet | bytes]:
        """What may go on. To be used up before the next call. Raises Malformed."""
        self._buffer += data
        start = 0
        try:
            while start < len(self._buffer):
                if self._passing:
                    piece = bytes(self._buffer[start : start + self._passing])
                    self._passing -= len(piece)
                    start += len(piece)
                    yield piece
                    continue
                head = head_of(self._buffer, start)
                if head is None:
                    return
                size = head[0] + head[1]
                if self._buffer[start] >> 4 == PUBLISH:
                    self._passing = size
                    continue
                if len(self._buffer) - start < size:
                    return
                raw = bytes(self._buffer[start : start + size])
                start += size
                yield Packet(raw[0] >> 4, raw[0] & 15, raw, head[0])
        finally:
            del self._buffer[:start]


def head_of(buffer: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """Length of the fixed header at `start`, and of what follows it; None while it is incomplete. Raises Malformed."""
    remaining = 0
    for index in range(1, _LONGEST_HEADER):
        if start + index >= len(buffer):
            return None
        byte = buffer[start + index]
        remaining |= (byte & 127) << 7 * (index - 1)
        if not byte & 128:
            return index + 1, remaining
    raise Malformed("the length of a packet is no length")


def packet(first: int, *parts: bytes) -> bytes:
    """The bytes of a packet with that first byte."""
    body = b"".join(parts)
    return bytes((first,)) + integer_of(len(body)) + body


def read_connect(body: bytes) -> Connect:
    """Of a CONNECT. Raises Malformed; of another version than 3.1.1 and 5, UnknownVersion."""
    fields = Fields(body)
    name, level, flags = fields.binary(), fields.byte(), fields.byte()
    if name != b"MQTT" or level not in (4, 5):
        raise UnknownVersion(f"it speaks «{name.decode('ascii', 'replace')}» {level}")
    will_qos = flags >> 3 & 3
    has_will = bool(flags & 4)
    if flags & 1 or will_qos == 3 or (not has_will and flags & 0x38):
        raise Malformed("the flags of CONNECT contradict each other")
    keepalive = fields.two()
    properties = fields.property_bytes() if level == 5 else b""
    if any(number == _AUTH_METHOD for number, _, _ in properties_of(properties)):
        raise Malformed("it asks for an authentication method; only a password is taken")
    client_id = fields.text()
    will = None
    if has_will:
        of_will = fields.property_bytes() if level == 5 else b""
        will = Will(will_qos, of_will, fields.text(), fields.binary())
    user = fields.text() if flags & 0x80 else None
    password = fields.binary() if flags & 0x40 else None
    fields.end()
    return Connect(level, bool(flags & 2), keepalive, properties, client_id, will, user, password)


class UnknownVersion(Malformed):
    """The client speaks a version of MQTT that is not taken."""


def connect(asked: Connect, client_id: str) -> bytes:
    """The CONNECT for the broker: another client id, no user, no password, nothing retained, no answer to a will."""
    flags = 2 if asked.clean else 0
    parts = [b"\0\4MQTT", bytes((asked.level,)), b"", asked.keepalive.to_bytes(2, "big")]
    is_5 = asked.level == 5
    if is_5:
        parts += [integer_of(len(asked.properties)), asked.properties]
    parts.append(text_of(client_id))
    if asked.will:
        flags |= 4 | asked.will.qos << 3
        if is_5:
            of_will = without(asked.will.properties, {_RESPONSE_TOPIC})
            parts += [integer_of(len(of_will)), of_will]
        parts += [
            text_of(asked.will.topic),
            len(asked.will.payload).to_bytes(2, "big"),
            asked.will.payload,
        ]
    parts[2] = bytes((flags,))
    return packet(CONNECT << 4, *parts)


def read_publish(packet_: Packet, level: int) -> Publish:
    """Of a PUBLISH of a client. Raises Malformed."""
    qos = packet_.flags >> 1 & 3
    if qos == 3:
        raise Malformed("QoS 3 does not exist")
    fields = Fields(packet_.raw, packet_.at)
    topic = fields.text()
    packet_id = fields.two() if qos else 0
    if qos and not packet_id:
        raise Malformed("the packet id 0 does not exist")
    alias, response = False, None
    if level == 5:
        for number, start, end in properties_of(properties := fields.property_bytes()):
            if number == _TOPIC_ALIAS:
                alias = True
            elif number == _RESPONSE_TOPIC:
                response = Fields(properties[start + 1 : end]).text()
    payload = memoryview(packet_.raw)[fields.position :]
    return Publish(qos, bool(packet_.flags & 8), topic, packet_id, payload, alias, response)


def left_behind(will: Will) -> Publish:
    """The message that a will is."""
    payload = memoryview(will.payload)
    return Publish(will.qos, False, will.topic, 0, payload, False, None)  # noqa: FBT003 - fields, in order


def unretained(packet_: Packet) -> bytes:
    """The bytes of a PUBLISH with the retain flag cleared."""
    if not packet_.flags & 1:
        return packet_.raw
    return bytes((packet_.raw[0] & 0xFE,)) + packet_.raw[1:]


def read_subscribe(body: bytes, level: int) -> Subscribe:
    """Of a SUBSCRIBE. Raises Malformed."""
    fields = Fields(body)
    packet_id = fields.two()
    properties = fields.property_bytes() if level == 5 else b""
    filters = []
    while fields.left:
        filters.append((fields.text(), fields.byte()))
    if not filters or not packet_id:
        raise Malformed("a SUBSCRIBE names nothing, or has no packet id")
    return Subscribe(packet_id, properties, tuple(filters))


def read_unsubscribe(body: bytes, level: int) -> list[str]:
    """The filters of an UNSUBSCRIBE. Raises Malformed."""
    fields = Fields(body)
    fields.two()
    if level == 5:
        fields.property_bytes()
    filters = []
    while fields.left:
        filters.append(fields.text())
    return filters


def subscribe(asked: Subscribe, level: int) -> bytes:
    """A SUBSCRIBE for the broker."""
    parts = [asked.packet_id.to_bytes(2, "big")]
    if level == 5:
        parts += [integer_of(len(asked.properties)), asked.properties]
    for topic, options in asked.filters:
        parts += [text_of(topic), bytes((options,))]
    return packet(SUBSCRIBE << 4 | 2, *parts)


def suback(packet_id: int, level: int, codes: Sequence[int]) -> bytes:
    """The answer to a SUBSCRIBE."""
    between = b"\0" if level == 5 else b""
    return packet(SUBACK << 4, packet_id.to_bytes(2, "big"), between, bytes(codes))


def suback_codes(body: bytes, level: int) -> tuple[int, bytes]:
    """Packet id and codes of the broker's SUBACK. Raises Malformed."""
    fields = Fields(body)
    packet_id = fields.two()
    if level == 5:
        fields.property_bytes()
    return packet_id, fields.rest()


def packet_id_of(body: bytes) -> int:
    """Of a PUBACK, PUBREC, PUBREL, PUBCOMP. Raises Malformed."""
    return Fields(body).two()


def reached_nobody(body: bytes) -> bool:
    """Whether a PUBACK of MQTT 5 says that nobody has subscribed to it."""
    return body[2:3] == _NO_SUBSCRIBERS


def refused_connack(level: int, reason: int) -> bytes:
    """The CONNACK that lets nobody in, with a reason of MQTT 5."""
    if level == 5:
        return packet(CONNACK << 4, bytes((0, reason, 0)))
    return packet(CONNACK << 4, bytes((0, _RETURN_CODES.get(reason, 3))))


def connack(packet_: Packet, level: int, assigned: str | None) -> tuple[bytes, bool]:
    """The broker's CONNACK for the client, and whether it lets it in. Raises Malformed.

    Topic aliases are not offered: with one a client could name a topic once and publish to it unseen. `assigned` is the
    client id that the gate has chosen.
    """
    body = packet_.body
    if len(body) < 2:
        raise Malformed("a CONNACK is too short")
    accepted = body[1] == 0
    if level != 5:
        return packet_.raw, accepted
    fields = Fields(body, 2)
    properties = without(fields.property_bytes(), {_TOPIC_ALIAS_MAXIMUM, _ASSIGNED_CLIENT_ID})
    if assigned is not None:
        properties += bytes((_ASSIGNED_CLIENT_ID,)) + text_of(assigned)
    return packet(CONNACK << 4, body[:2], integer_of(len(properties)), properties), accepted


def refused_publish(qos: int, packet_id: int, reason: int) -> bytes:
    """The PUBACK or PUBREC of MQTT 5 that says a message was not taken."""
    kind = PUBACK if qos == 1 else PUBREC
    return packet(kind << 4, packet_id.to_bytes(2, "big"), bytes((reason,)))


def unknown_pubrel(packet_id: int) -> bytes:
    """The PUBCOMP of MQTT 5 for a message that was not taken."""
    return packet(PUBCOMP << 4, packet_id.to_bytes(2, "big"), b"\x92")


def disconnect(reason: int) -> bytes:
    """A DISCONNECT of MQTT 5."""
    return packet(DISCONNECT << 4, bytes((reason,)))


def publish(topic: str, payload: bytes, qos: int, packet_id: int, response: str = "") -> bytes:
    """A PUBLISH of MQTT 5; `response` is the topic to be answered at, and what belongs to the answer."""
    id_bytes = packet_id.to_bytes(2, "big") if qos else b""
    asked = b""
    if response:
        where = text_of(response)
        asked = bytes((_RESPONSE_TOPIC,)) + where + bytes((_CORRELATION,)) + where
    first = PUBLISH << 4 | qos << 1
    return packet(first, text_of(topic), id_bytes, integer_of(len(asked)), asked, payload)
