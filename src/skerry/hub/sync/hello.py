"""Answers the first message of every connection: which protocol, and how far the hub holds this node's history."""

from __future__ import annotations

import time

from skerry.hub.store import changes
from skerry.hub.store.hub_store import HubStore
from skerry.hub.sync import points
from skerry.hub.sync.appointments import Appointments, Moment
from skerry.hub.sync.frames import check_id
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Busy, Refused
from skerry.kit.one_line import one_line
from skerry.wire.sync import PROTOCOL, Hello, HelloReply

OLDEST_PROTOCOL = max(1, PROTOCOL - 2)

MOST_AT_ONCE = 100
"""Hellos that wait for the database at a time. A node gives one up after five seconds, and asks again: where more wait
than are read in that time, the hub would only answer those who have gone."""


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
            after = self._appointments.next(self._moment())
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
        self._appointments.answered(self._moment())
        return HelloReply(
            protocol=protocol,
            hub_id=self._store.facts.hub_id,
            epoch=epoch,
            hub_time=self._clock.wall_ns(),
            lanes={lane: held.point for lane, held in lanes.items()},
            backed_up_through={lane: held.backed_up for lane, held in lanes.items()},
        )

    def _moment(self) -> Moment:
        return Moment(self._clock.monotonic_ns() / NS, time.process_time())
