"""Twins of Cyberwave's, whether their drivers are there, and the open alerts about them, by the rows that devices share.

What matters of these rows is kept in memory and brought up to date by those that have changed: the page asks each second.
"""

from __future__ import annotations

import logging
import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import Connection, select

from skerry.core.cyberwave.alert_kinds import OVER
from skerry.core.cyberwave.linking import linked_devices
from skerry.core.cyberwave.ownership import guarded
from skerry.core.cyberwave.shown import DriverState, driver_state, text_of
from skerry.core.merging.bodies import Body, decoded
from skerry.hub.store import shared_feed
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.shared_feed import Room
from skerry.hub.store.shared_tables import shared_entity
from skerry.hub.store.tables import FLEET, node
from skerry.kit.errors import Corrupt, InvalidInput
from skerry.kit.one_line import one_line

log = logging.getLogger(__name__)

T = TypeVar("T")

_ROOM = Room(500, 4 << 20)
_ONE = Room(1, 0)
"""What is read at a time: one where any cannot be read, to leave no other one out."""

_MOST = 50_000
"""Rows of one entity that are kept: whoever has taken a device writes as many as it likes."""

_MOST_OF_ONE = 1000
"""Alerts of one twin, so that a taken device hides none of another one's."""

_LONGEST_NAME = 100
_LONGEST_TEXT = 300
_LONGEST_WORD = 128
"""Of UUIDs, fingerprints, times and states; nothing longer is one."""


@dataclass(frozen=True)
class OpenAlert:
    """One that is not over. `severity` and `status` are Cyberwave's words, or anything else."""

    kind: str
    severity: str
    status: str
    text: str
    seen: str


@dataclass(frozen=True)
class TwinView:
    """A twin. `nodes` are those of the fleet that it is linked to, `device` the fingerprint where the fleet knows none.

    `driver` is as the node said last, `since` (ISO 8601, or anything else) from when on it is so.
    """

    uuid: str
    name: str
    nodes: Sequence[str]
    device: str
    driver: DriverState
    since: str
    alerts: Sequence[OpenAlert]


class _Twin(NamedTuple):
    name: str
    devices: frozenset[str]


class _Table(Generic[T]):
    """An entity up to revision `through`, by row; `read` says None of a row that does not matter. Damaged ones are left out.

    Of each twin that `about` names at most `most` are kept.
    """

    def __init__(
        self,
        read: Callable[[Body], T | None],
        about: Callable[[T], str] = lambda _row: "",
        most: int = _MOST,
    ) -> None:
        self.rows: dict[str, T] = {}
        self._read = read
        self._about = about
        self._most = most
        self._counts: Counter[str] = Counter()
        self._through = 0

    def bring_up(
        self, connection: Connection, entity: str, newest: int, pruned_through: int
    ) -> None:
        """Takes in what has changed; reads all where deleted rows may be missing since."""
        if not pruned_through <= self._through <= newest:
            self.rows, self._counts, self._through = {}, Counter(), 0
        more, room = self._through < newest, _ROOM
        live = not self._through
        while more:
            try:
                found, more = shared_feed.page(
                    connection, entity, self._through, room, hidden="", live=live
                )
                for row in found:
                    kept = None if row.deleted else self._read(decoded(row.body))
                    self._keep(row.id, row.rev, kept)
            except (Corrupt, InvalidInput) as error:
                if room == _ONE:
                    name, rev = shared_feed.next_id(connection, entity, self._through, live=live)
                    self._keep(name, rev, None)
                    log.warning("the page leaves out row «%s» of «%s»: %s", name, entity, error)
                more, room = True, _ONE if room == _ROOM else _ROOM
        self._through = newest

    def _keep(self, name: str, rev: int, kept: T | None) -> None:
        before = self.rows.pop(name, None)
        if before is not None:
            self._counts[self._about(before)] -= 1
        if (
            kept is not None
            and len(self.rows) < _MOST
            and self._counts[self._about(kept)] < self._most
        ):
            self.rows[name] = kept
            self._counts[self._about(kept)] += 1
        self._through = rev


class _Environment:
    """The rows of one environment."""

    def __init__(self) -> None:
        self.twins = _Table(_twin)
        self.presence = _Table(_presence)
        self.alerts = _Table(_alert, operator.itemgetter(0), _MOST_OF_ONE)

    def views(self, nodes: Mapping[str, str]) -> list[TwinView]:
        """Its twins; `nodes` are names by fingerprint."""
        alerts: dict[str, list[OpenAlert]] = defaultdict(list)
        for twin, alert in self.alerts.rows.values():
            alerts[twin].append(alert)
        return [
            _view(uuid, twin, self.presence.rows.get(uuid, {}), alerts.get(uuid, []), nodes)
            for uuid, twin in self.twins.rows.items()
        ]


class Twins:
    """Of the whole fleet: they are nothing that a role for some nodes sees."""

    def __init__(self, store: HubStore) -> None:
        self._store = store
        self._environments: dict[str, _Environment] = {}

    async def seen(self) -> list[TwinView]:
        """All of them, as they are now. Not for two at a time."""
        return await self._store.read(self._look)

    def _look(self, connection: Connection) -> list[TwinView]:
        its = shared_entity.c
        query = select(its.entity, its.newest, its.pruned_through).where(its.fleet_id == FLEET)
        for row in connection.execute(query).all():
            self._bring_up(connection, row.entity, row.newest, row.pruned_through)
        environments = self._environments.values()
        if not any(each.twins.rows for each in environments):
            return []
        named = select(node.c.fingerprint, node.c.name).where(
            node.c.fleet_id == FLEET, node.c.fingerprint != ""
        )
        nodes = {row.fingerprint: row.name for row in connection.execute(named)}
        return [view for each in environments for view in each.views(nodes)]

    def _bring_up(
        self, connection: Connection, entity: str, newest: int, pruned_through: int
    ) -> None:
        of = guarded(entity)
        if of is None or of.kind == "catalog":
            return
        its = self._environments.setdefault(of.twins, _Environment())
        tables: dict[str, _Table[_Twin] | _Table[Body] | _Table[tuple[str, OpenAlert]]] = {
            "twins": its.twins,
            "presence": its.presence,
            "alerts": its.alerts,
        }
        tables[of.kind].bring_up(connection, entity, newest, pruned_through)


def _twin(body: Body) -> _Twin:
    return _Twin(_shown(text_of(body, "name"), _LONGEST_NAME), linked_devices(body))


def _presence(body: Body) -> Body:
    return {
        "online": body.get("online") is True,
        "edge_id": _word(body, "edge_id"),
        "since": _word(body, "since"),
    }


def _alert(body: Body) -> tuple[str, OpenAlert] | None:
    """With its twin; None: it is over."""
    if text_of(body, "status") in OVER:
        return None
    return _word(body, "twin_uuid"), OpenAlert(
        kind=_shown(text_of(body, "alert_type"), _LONGEST_NAME),
        severity=_word(body, "severity"),
        status=_word(body, "status"),
        text=_shown(text_of(body, "description") or text_of(body, "name"), _LONGEST_TEXT),
        seen=_word(body, "last_seen_at"),
    )


def _view(
    uuid: str,
    twin: _Twin,
    presence: Body,
    alerts: Sequence[OpenAlert],
    nodes: Mapping[str, str],
) -> TwinView:
    linked = sorted(twin.devices)
    device = linked[0] if len(linked) == 1 and linked[0] not in nodes else ""
    return TwinView(
        uuid=uuid,
        name=twin.name,
        nodes=[nodes[one] for one in linked if one in nodes],
        device=_shown(device, _LONGEST_NAME),
        driver=driver_state(twin.devices, presence),
        since=text_of(presence, "since"),
        alerts=alerts,
    )


def _word(body: Body, name: str) -> str:
    return text_of(body, name)[:_LONGEST_WORD]


def _shown(text: str, longest: int) -> str:
    cut = one_line(text[: longest + 1])
    return cut if len(cut) <= longest else f"{cut[:longest]}…"
