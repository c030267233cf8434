"""Memory for large packets, shared by all clients: who sends one waits for room, so that many cannot fill the device."""

from __future__ import annotations

from collections.abc import Callable

from skerry.keeper.loop import Loop

SMALL = 64 * 1024
"""A packet of at most so many bytes needs no room of its own."""
BESIDE_LARGEST = 16 * 1024 * 1024
SLOWEST = 30.0
"""Seconds in which a large packet has to be through."""


class Room:
    """`size` bytes, given in the order in which they are asked for, to each token for one packet at a time.

    Who has many connections waits for itself with them, and not the others for all of these.
    """

    def __init__(self, size: int, loop: Loop) -> None:
        self.loop = loop
        self._left = size
        self._waiting: dict[Place, int] = {}
        self._in_turn: dict[int, Place] = {}
        """Whose turn it is of each token: it has room, or is among those who wait."""
        self._behind: dict[int, dict[Place, int]] = {}

    def take(self, place: Place, size: int) -> bool:
        """Whether there is room now; if not, the place is told when there is."""
        if place.token in self._in_turn:
            self._behind.setdefault(place.token, {})[place] = size
            return False
        self._in_turn[place.token] = place
        if self._waiting or size > self._left:
            self._waiting[place] = size
            return False
        self._left -= size
        return True

    def give_back(self, place: Place, size: int) -> None:
        """It has had so much, or has waited for it in vain."""
        self._waiting.pop(place, None)
        self._left += size
        behind = self._behind.get(place.token, {})
        behind.pop(place, None)
        if self._in_turn.get(place.token) is place:
            del self._in_turn[place.token]
            if behind:
                following = next(iter(behind))
                self._in_turn[place.token] = following
                self._waiting[following] = behind.pop(following)
        if not behind:
            self._behind.pop(place.token, None)
        while self._waiting:
            first, wanted = next(iter(self._waiting.items()))
            if wanted > self._left:
                return
            del self._waiting[first]
            self._left -= wanted
            first.given(wanted)


class Place:
    """One client's. `resume` is called when there is room after all, `over` when a packet takes too long."""

    def __init__(
        self, room: Room, resume: Callable[[], object], over: Callable[[], object]
    ) -> None:
        self.token = 0
        """The number of the token whose client it is."""
        self._room = room
        self._resume = resume
        self._over = over
        self._held = 0
        self._turn = 0
        self._packet = -1

    def take(self, packet: int, size: int, token: int) -> bool:
        """Whether there is room for that packet of the client, the how manieth it may be; if not, `resume` is called later."""
        if packet == self._packet:
            return self._held > 0
        self.give_back()
        self._packet, self.token = packet, token
        if not self._room.take(self, size):
            return False
        self._hold(size)
        return True

    def given(self, size: int) -> None:
        """The room has it now."""
        self._hold(size)
        self._resume()

    def give_back(self) -> None:
        """Nothing large is under way any more."""
        held, self._held, self._packet = self._held, 0, -1
        self._turn += 1
        self._room.give_back(self, held)

    def _hold(self, size: int) -> None:
        self._held = size
        turn = self._turn

        def look() -> None:
            if turn == self._turn:
                self._over()

        self._room.loop.later(SLOWEST, look)
