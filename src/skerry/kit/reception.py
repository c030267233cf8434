"""How long a peer may take to send one HTTP request, and how many peers may be connected.

Neither uvicorn nor aiohttp bounds this: whoever sends half a head or half a body would hold a connection, and with
it a descriptor, for ever. `hub.http_protocol` and `node.api.connections` tell a `Reception` what their parsers
see; it calls back when the peer is too late. What follows a whole request, such as a stream that is answered for
days, is not its business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec


class RequestLimits(msgspec.Struct, frozen=True):
    """Seconds, bytes a second, and connections of one listener."""

    connections: int
    """No more than these, so that no leak and no stranger takes every descriptor."""
    head: float = 10.0
    """For a whole head, from the opening or, on a connection that is used again, from its first byte. Real ones are
    one packet."""
    stall: float = 30.0
    """Without any byte of a body. Radio links fall silent for many seconds and come back."""
    slowest: float = 512.0
    """Bytes a second of a body on average. Four lanes that share the slowest path a node is made for (4 KiB/s,
    `node.sync.connections.Patience`) have twice as much each."""


class Reception:
    """The request that is being received on one connection.

    `late` is called once, when the peer has used up its time. While `paused` says True we do not read, so nothing
    that is missing is the peer's fault.
    """

    def __init__(
        self,
        limits: RequestLimits,
        loop: asyncio.AbstractEventLoop,
        late: Callable[[], None],
        paused: Callable[[], bool],
    ) -> None:
        self._limits = limits
        self._loop = loop
        self._late = late
        self._paused = paused
        self._timer: asyncio.TimerHandle | None = None
        self._begun: float | None = None
        self._in_body = False
        self._heard = 0.0
        self._received = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is expected at the moment."""
        return self._begun is None

    @property
    def in_head(self) -> bool:
        """Whether (more of) a head is expected."""
        return self._begun is not None and not self._in_body

    def begin(self) -> None:
        """A head is expected, or its first bytes have come. Repeating it changes nothing."""
        if self._begun is None:
            self._begun = self._loop.time()
            self._in_body = False

    def head_complete(self) -> None:
        """From now on a body is expected."""
        self._begun = self._heard = self._loop.time()
        self._in_body = True
        self._received = 0

    def body(self, size: int) -> None:
        """So many bytes of the body have come."""
        self._heard = self._loop.time()
        self._received += size

    def end(self) -> None:
        """The request is whole, or the connection carries something else now."""
        self._begun = None

    def watch(self) -> None:
        """Call it after each piece of input: sets the timer when the request is still not whole."""
        if self._begun is None:
            self.close()
        elif self._timer is None:
            self._timer = self._loop.call_at(self._due(), self._check)

    def close(self) -> None:
        """Nothing is expected any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> float:
        begun = self._begun or 0.0
        if not self._in_body:
            return begun + self._limits.head
        steady = begun + self._limits.stall + self._received / self._limits.slowest
        return min(self._heard + self._limits.stall, steady)

    def _check(self) -> None:
        self._timer = None
        if self._begun is None:
            return
        if self._paused():
            self.head_complete()
        if self._due() <= self._loop.time():
            self._late()
        else:
            self.watch()


class Member(Protocol):
    """A connection in a crowd."""

    @property
    def is_idle(self) -> bool:
        """Whether it lies between two requests."""
        ...

    def make_room(self) -> None:
        """Ends it; its peer will open another one when it needs one."""
        ...


class Crowd:
    """The connections of one listener, in the order of their opening.

    When there are too many, the first that only waits for a next request makes room: clients that forget to close
    what they opened do not lock out the others. Where none does, the first stranger makes room, so that nobody has to
    hope for the end of those that never say who they are; of one address there is at most a share of them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._share = max(limit // 4, 1)
        self._members: dict[Member, None] = {}
        self._strangers: dict[Member, str] = {}
        self._by_address: dict[str, dict[Member, None]] = {}

    def enter(self, newcomer: Member, *, others: int = 0, stranger_at: str = "") -> bool:
        """False: it has to go, there are too many with it and `others` (which never make room), and none makes room.

        `stranger_at` is the address of one that has not shown who it is.
        """
        self._members[newcomer] = None
        if stranger_at:
            self._strangers[newcomer] = stranger_at
            same = self._by_address.setdefault(stranger_at, {})
            same[newcomer] = None
            if len(same) > self._share:
                self._end(next(iter(same)))
                return True
        if len(self._members) + others <= self._limit:
            return True
        idle = (each for each in self._members if each.is_idle and each is not newcomer)
        strangers = (each for each in self._strangers if each is not newcomer)
        going = next(idle, None) or next(strangers, None)
        if going is None:
            return False
        self._end(going)
        return True

    def leave(self, member: Member) -> None:
        """It has ended, or is no HTTP connection any more."""
        self._members.pop(member, None)
        address = self._strangers.pop(member, "")
        same = self._by_address.get(address, {})
        same.pop(member, None)
        if not same:
            self._by_address.pop(address, None)

    def _end(self, member: Member) -> None:
        self.leave(member)
        member.make_room()

    def __len__(self) -> int:
        return len(self._members)
