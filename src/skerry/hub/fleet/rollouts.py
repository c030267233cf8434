"""Changes that go through a workload's nodes in waves: read what is, let `fleet.waves` decide, write what comes out.

All of it is in the database, so a hub that starts again goes on where the other one stopped. `fleet.workloads`
begins a rollout in the transaction of the change itself; `run` is one of the hub's loops.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection, delete, select

from skerry.hub.fleet.assignments import (
    ENTITY,
    Assignments,
    Desired,
    read_assignments,
    read_workloads,
)
from skerry.hub.fleet.views import Heard, find, heard
from skerry.hub.fleet.waves import Member, Rollout, Wave, decide, resumed, view
from skerry.hub.store import locks, notices
from skerry.hub.store.bodies import ROLLOUT, STATE, Bodies
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.notices import tell
from skerry.hub.store.tables import FLEET, node, rollout, state
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused
from skerry.kit.tasks import Guard
from skerry.wire.codec import decode, encode
from skerry.wire.people import UpdateView
from skerry.wire.workload import WorkloadStatus

LOOK_EVERY = 1.0
"""Seconds between two looks while a change is under way."""

_BY_HAND = "by hand"


@dataclass(frozen=True)
class _Case:
    """One rollout with everything that its decision needs."""

    name: str
    wish: Desired
    rollout: Rollout
    members: list[Member]

    def decide(self, now: int) -> Wave:
        return decide(self.rollout, self.wish.spec.update, self.members, now)


class _Row(NamedTuple):
    body: bytes
    updated_at: int


class Rollouts:
    """`notify` and `last_seen` as in `Workloads`. `began` rings when there may be something new to do."""

    def __init__(
        self,
        store: HubStore,
        assignments: Assignments,
        clock: Clock,
        notify: Callable[[str], None],
        last_seen: Mapping[str, int],
    ) -> None:
        self._store = store
        self._assignments = assignments
        self._clock = clock
        self._notify = notify
        self._last_seen = last_seen
        self.began = Bell()

    async def run(
        self, guard: Guard, changed: Callable[[], None], may: Callable[[], Awaitable[bool]]
    ) -> None:
        """Carries changes on for ever; calls `changed` when one has got further.

        `may` says whether it is this process that does so now; it is asked before each look.
        """

        async def once() -> None:
            seen = self.began.count
            if not await self._store.read(_any):
                await self.began.after(seen)
                return
            if await may() and await self.advance():
                changed()
            await self.began.within(seen, LOOK_EVERY, self._clock)

        while True:
            await guard.run(once)

    async def advance(self) -> bool:
        """One look at every change under way; True when one has got further."""
        names = await self._store.read(lambda connection: list(_read(connection)))
        return any([await self._look(name) for name in names])

    async def _look(self, name: str) -> bool:
        now, seen = self._clock.wall_ns(), dict(self._last_seen)
        case = await self._store.read(lambda connection: _case(connection, name, seen, now))
        if case is None or not _has_effect(case, case.decide(now)):
            return False
        news = await self._store.write(
            lambda connection: self._advance(connection, name, seen, now)
        )
        for node_id in sorted(news):
            self._notify(node_id)
        return True

    async def pause(self, name: str) -> None:
        """No further node gets the change until `resume`. Raises NotFound or Refused."""
        await self._order(name, "pause", lambda case, _: replace(case.rollout, paused=_BY_HAND))

    async def resume(self, name: str) -> None:
        """The change goes on; nodes that have failed so far are passed over. Raises NotFound or Refused."""
        await self._order(
            name,
            "resume",
            lambda case, now: resumed(case.rollout, case.wish.spec.update, case.members, now),
        )

    def begin(
        self, connection: Connection, name: str, before: Desired, untouched: Collection[str]
    ) -> None:
        """A change of `name` waits for its waves; to the nodes in `untouched` it is none.

        One that was under way is superseded, but not what was before it.
        """
        earlier = _read(connection).get(name) or Rollout(before.spec, before.restarts)
        known = sorted(untouched)
        self._save(
            connection,
            name,
            Rollout(earlier.before, earlier.restarts, proven=known, excused=known),
        )
        tell(connection, notices.Rollouts())

    def end(self, connection: Connection, names: Collection[str]) -> None:
        """Nothing waits any more."""
        connection.execute(
            delete(rollout).where(rollout.c.fleet_id == FLEET, rollout.c.name.in_(names))
        )

    async def _order(self, name: str, verb: str, work: Callable[[_Case, int], Rollout]) -> None:
        now, seen = self._clock.wall_ns(), dict(self._last_seen)

        def write(connection: Connection) -> None:
            locks.of_fleet(connection)
            under_way(connection, name, verb)
            case = _case(connection, name, seen, now)
            if case is not None:
                self._save(connection, name, work(case, now))
            tell(connection, notices.Rollouts())

        await self._store.write(write)
        self.began.ring()

    def _advance(
        self, connection: Connection, name: str, seen: Mapping[str, int], now: int
    ) -> frozenset[str]:
        locks.of_fleet(connection)
        case = _case(connection, name, seen, now)
        if case is None:
            return frozenset()
        wave = case.decide(now)
        if wave.finished:
            self.end(connection, [name])
        else:
            self._save(connection, name, wave.rollout)
        return self._assignments.give(connection, name, case.wish, wave.change)

    def _save(self, connection: Connection, name: str, body: Rollout) -> None:
        sealed = Bodies.of(connection).seal(ROLLOUT, encode(body), name)
        row = {"updated_at": self._clock.wall_ns(), "body": sealed}
        connection.execute(
            insert(connection, rollout)
            .values(fleet_id=FLEET, name=name, **row)
            .on_conflict_do_update(index_elements=["fleet_id", "name"], set_=row)
        )


def under_way(connection: Connection, name: str, verb: str) -> Rollout:
    """The change of `name` that is under way. Raises NotFound, or Refused when there is none."""
    find(read_workloads(connection), name, f"{verb} the update of")
    found = _read(connection).get(name)
    if found is None:
        raise Refused(f"cannot {verb} the update of workload «{name}»: none is under way")
    return found


def update_views(
    connection: Connection, seen: Mapping[str, int], now: int
) -> dict[str, UpdateView]:
    """Every change under way, by its workload's name."""
    views = {}
    for name in _read(connection):
        case = _case(connection, name, seen, now)
        if case is not None:
            views[name] = view(case.rollout, case.wish.spec.update, case.members, now)
    return views


def _any(connection: Connection) -> bool:
    query = select(rollout.c.name).where(rollout.c.fleet_id == FLEET)
    return connection.execute(query.limit(1)).first() is not None


def _read(connection: Connection) -> dict[str, Rollout]:
    query = select(rollout.c.name, rollout.c.body).where(rollout.c.fleet_id == FLEET)
    bodies = Bodies.of(connection)
    return {
        row.name: decode(
            bodies.open(ROLLOUT, row.body, row.name), Rollout, f"rollout of «{row.name}»"
        )
        for row in connection.execute(query.order_by(rollout.c.name))
    }


def _case(connection: Connection, name: str, seen: Mapping[str, int], now: int) -> _Case | None:
    """None: there is no such workload or change any more."""
    wish, found = read_workloads(connection).get(name), _read(connection).get(name)
    if wish is None or found is None:
        return None
    return _Case(name, wish, found, _members(connection, name, wish, seen, now))


def _members(
    connection: Connection, name: str, wish: Desired, seen: Mapping[str, int], now: int
) -> list[Member]:
    query = select(node.c.id, node.c.name, node.c.last_seen).where(node.c.fleet_id == FLEET)
    known: dict[str, tuple[str, Heard]] = {
        row.id: (row.name, heard(row.id, row.last_seen, seen, now))
        for row in connection.execute(query)
    }
    given = _rows(connection, name, ENTITY)
    statuses = _rows(connection, name, "status")
    return [
        Member(
            node=place.node,
            name=known[place.node][0],
            changed=held.generation >= wish.generation,
            generation=held.generation,
            given_at=given[place.node].updated_at,
            online=known[place.node][1].online,
            status=decode(row.body, WorkloadStatus, f"status of «{name}»") if row else None,
            heard_at=row.updated_at if row else 0,
        )
        for place, held in sorted(read_assignments(connection, workloads=[name]).items())
        if place.node in known
        for row in [statuses.get(place.node)]
    ]


def _rows(connection: Connection, name: str, entity: str) -> dict[str, _Row]:
    query = select(state.c.scope, state.c.body, state.c.updated_at).where(
        state.c.fleet_id == FLEET,
        state.c.entity == entity,
        state.c.id == name,
        state.c.deleted.is_(False),
    )
    bodies = Bodies.of(connection)
    return {
        row.scope: _Row(bodies.open(STATE, row.body, row.scope, entity, name), row.updated_at)
        for row in connection.execute(query)
    }


def _has_effect(case: _Case, wave: Wave) -> bool:
    return bool(wave.change) or wave.finished or wave.rollout != case.rollout
