"""What all clients share."""

from __future__ import annotations

from skerry.gate.capture import Capture
from skerry.gate.door import Door
from skerry.gate.records import NamedTuple
from skerry.gate.room import Room
from skerry.gate.sessions import Sessions
from skerry.gate.tokens import Tokens
from skerry.keeper.loop import Loop


class Surroundings(NamedTuple):
    """What a client needs beside its socket. `largest` bounds a packet."""

    loop: Loop
    tokens: Tokens
    capture: Capture
    broker: Door
    room: Room
    sessions: Sessions
    largest: int
