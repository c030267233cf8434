"""Answers the first message of every connection: which protocol, and how far the hub holds this node's history."""

from __future__ import annotations

from skerry.hub.store import changes
from skerry.hub.store.hub_store import HubStore
from skerry.hub.sync import points
from skerry.hub.sync.frames import check_id
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Busy, Refused
from skerry.kit.one_line import one_line
from skerry.wire.sync import PROTOCOL, Hello, HelloReply

OLDEST_PROTOCOL = max(1, PROTOCOL - 2)

MOST_AT_ONCE = 100
"""Hellos that wait for the database at a time. A node gives one up after five seconds, and asks again: where more wait
than are read in that time, the hub would only answer those who have gone."""

EACH = 0.02
"""Seconds that a hub is kept busy by a node that comes back: its hellos, its live link, what it pushes and pulls."""

LATEST = 30
"""Seconds: nobody is told to come later than that."""


class Appointments:
    """When those who are turned away come again: one after the other, as fast as they can be served. Pure."""

    def __init__(self) -> None:
        self._booked = 0.0

    def next(self, now: float) -> int:
        """Whole seconds from `now` (monotonic seconds) for one more, at least one."""
        self._booked = min(max(self._booked, now) + EACH, now + LATEST - 1)
        return 1 + int(self._booked - now)


def agree(protocols: tuple[int, int]) -> int:
    """The highest protocol that a node speaking the range `protocols` and this hub share. Raises Refused."""
    oldest, newest = protocols
    agreed = min(newest, PROTOCOL)
    if agreed < max(oldest, OLDEST_PROTOCOL):
        late = "node" if newest < OLDEST_PROTOCOL else "hub"
        raise Refused(
            f"cannot talk to this node: it speaks protocols {one_line(f'{oldest} to {newest}')}, this hub "
            f"{OLDEST_PROTOCOL} to {PROTOCOL}. Update the {late}."
        )
    return agreed


class Greeter:
    """Answers hellos."""

    def __init__(self, store: HubStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting = 0
        self._appointments = Appointments()

    async def hello(self, node_id: str, hello: Hello) -> HelloReply:
        """Raises Refused without a common protocol, InvalidInput when the incarnation is no id, Busy in a storm."""
        protocol = agree(hello.protocols)
        check_id(hello.incarnation, "incarnation")
        if self._waiting >= MOST_AT_ONCE:
            after = self._appointments.next(self._clock.monotonic_ns() / NS)
            raise Busy(
                f"cannot answer this hello now: too many nodes say hello at once. Try again in {after} s",
                after,
            )
        self._waiting += 1
        try:
            epoch, lanes = await self._store.read(
                lambda connection: (
                    changes.read_log(connection).epoch,
                    points.read(connection, node_id, hello.incarnation),
                )
            )
        finally:
            self._waiting -= 1
        return HelloReply(
            protocol=protocol,
            hub_id=self._store.facts.hub_id,
            epoch=epoch,
            hub_time=self._clock.wall_ns(),
            lanes={lane: held.point for lane, held in lanes.items()},
            backed_up_through={lane: held.backed_up for lane, held in lanes.items()},
        )
