"""Answers of the broker that a client does not get as they come: too early, or for a part of what it asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from skerry.gate import packets
from skerry.gate.packets import Packet, Subscribe


class Withheld:
    """Acknowledgements wait, in their order, until the agent has stored what they acknowledge."""

    def __init__(self) -> None:
        self._expected: dict[int, int] = {}
        self._answers: deque[tuple[int, bytes]] = deque()

    def expect(self, packet_id: int, n: int) -> None:
        """The message with that packet id is entry `n` of the journal."""
        self._expected[packet_id] = n

    def __len__(self) -> int:
        return len(self._expected) + len(self._answers)

    def come(self, packet: Packet) -> None:
        """The broker has sent a PUBACK or PUBREC. Raises Malformed."""
        n = self._expected.pop(packets.packet_id_of(packet.body), 0)
        self._answers.append((n, packet.raw))

    def due(self, stored: int) -> Iterator[bytes]:
        """Those that may go."""
        while self._answers and self._answers[0][0] <= stored:
            yield self._answers.popleft()[1]


class Partial:
    """Subscriptions of which the broker sees only what is allowed; the client gets an answer for each filter."""

    def __init__(self) -> None:
        self._asked: dict[int, Sequence[bool]] = {}

    def ask(self, asked: Subscribe, allowed: Sequence[bool], level: int) -> tuple[bytes, bytes]:
        """What the broker is asked for, and what the client is answered at once; one of them is empty."""
        if not any(allowed):
            return b"", packets.suback(asked.packet_id, level, [refusal_of(level)] * len(allowed))
        if not all(allowed):
            self._asked[asked.packet_id] = allowed
        left = tuple(item for item, may in zip(asked.filters, allowed, strict=True) if may)
        return packets.subscribe(asked._replace(filters=left), level), b""

    def whole(self, packet: Packet, level: int) -> bytes:
        """The answer to all of it, from the broker's SUBACK. Raises Malformed."""
        packet_id, codes = packets.suback_codes(packet.body, level)
        allowed = self._asked.pop(packet_id, None)
        if allowed is None:
            return packet.raw
        given = iter(codes)
        refusal = refusal_of(level)
        return packets.suback(
            packet_id, level, [next(given, refusal) if may else refusal for may in allowed]
        )


def refusal_of(level: int) -> int:
    """The code of a filter that is not allowed."""
    return packets.NOT_AUTHORIZED if level == 5 else packets.FAILURE_311
