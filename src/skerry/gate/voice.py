"""The node's own connection to the broker, by which it publishes what its agent says."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable

from skerry.gate import packets
from skerry.gate.door import Door
from skerry.gate.fields import Malformed
from skerry.gate.packets import Connect, Packet, Passage
from skerry.gate.records import NamedTuple
from skerry.gate.streams import Stream
from skerry.keeper.loop import Loop

_PATIENCE = 8.0
_MOST_WAITING = 1000
_LAST_ID = 65535

_OURS = Connect(
    level=5,
    clean=True,
    keepalive=0,
    properties=b"",
    client_id="",
    will=None,
    user=None,
    password=None,
)


class Fate(NamedTuple):
    """What became of a message: what is `wrong` unless the broker has it, and whether anybody may have heard it."""

    wrong: str = ""
    heard: bool = False


Done = Callable[[Fate], object]


class _Said(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    done: Done
    response: str


class Voice:
    """Connects when something is to be said. With QoS 0 a message is done when it is sent, with QoS 1 when it is taken.

    One that the broker has not taken when it ends is said again, but for a request: that is said once.
    """

    def __init__(self, loop: Loop, broker: Door) -> None:
        self._loop = loop
        self._broker = broker
        self._stream: Stream | None = None
        self._passage = Passage()
        self._entering = self._ready = False
        self._waiting: deque[_Said] = deque()
        self._unanswered: dict[int, _Said] = {}
        self._next_id = 0

    def say(self, topic: str, payload: bytes, qos: int, done: Done, response: str = "") -> None:
        """Publishes a message; `response` is the topic that it is to be answered at."""
        if len(self._waiting) + len(self._unanswered) >= _MOST_WAITING:
            done(Fate(f"{_MOST_WAITING} messages are waiting for the broker"))
            return
        self._waiting.append(_Said(topic, payload, qos, done, response))
        if self._ready:
            self._send()
        elif not self._entering and self._stream is None:
            self._enter()

    def _enter(self) -> None:
        self._entering = True
        self._broker.enter(_PATIENCE, self._arrived)

    def _arrived(self, sock: socket.socket | None) -> None:
        if sock is None:
            self._entering = False
            waiting, self._waiting = self._waiting, deque()
            for said in waiting:
                said.done(Fate("the broker is away"))
            return
        self._passage = Passage()
        self._stream = Stream(sock, self._loop, self._heard, self._lost)
        self._entering = False
        self._stream.send(packets.connect(_OURS, "skerry-node"))

    def _heard(self, data: bytes) -> None:
        try:
            for part in self._passage.feed(data):
                if isinstance(part, Packet):
                    self._answered(part)
        except Malformed:
            if self._stream:
                self._stream.close()
            self._lost()

    def _answered(self, packet: Packet) -> None:
        if packet.kind == packets.CONNACK:
            self._broker.through()
            self._ready = True
            self._send()
        elif packet.kind == packets.PUBACK:
            said = self._unanswered.pop(packets.packet_id_of(packet.body), None)
            if said:
                said.done(Fate(heard=not packets.reached_nobody(packet.body)))

    def _lost(self) -> None:
        if not self._ready:
            self._broker.through()
        self._ready = False
        self._stream = None
        unanswered, self._unanswered = self._unanswered, {}
        # What nobody has taken is said again, in its order and before what came later; but nothing is asked twice.
        again = [said for said in unanswered.values() if not said.response]
        self._waiting.extendleft(reversed(again))
        for said in unanswered.values():
            if said.response:
                said.done(Fate("the broker ended before it said whether it has it"))
        if self._waiting:
            self._enter()

    def _send(self) -> None:
        while self._ready and self._stream and self._waiting:
            said = self._waiting.popleft()
            packet_id = 0
            if said.qos:
                packet_id = self._next_id = self._next_id % _LAST_ID + 1
                self._unanswered[packet_id] = said
            message = packets.publish(said.topic, said.payload, said.qos, packet_id, said.response)
            self._stream.send(message)
            if not said.qos:
                said.done(Fate(heard=True))
