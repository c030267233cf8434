"""The alerts of this device's twins: shared rows, so they are durable when a call returns and reach the hub when it is there.

Implements `twin_ports.Alerts`; drivers and workers reach it by REST. Both ends change alerts, the later change of a
field stands, and occurrences that were counted on both sides add up. docs/adr/0037.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from skerry.core.cyberwave import folding
from skerry.core.cyberwave.alert_kinds import OVER, kind_of
from skerry.core.cyberwave.names import is_uuid
from skerry.core.merging.bodies import Body, Value, decoded, encoded
from skerry.kit.bell import Rings
from skerry.kit.clock import NS, Clock, iso
from skerry.kit.errors import Busy, InvalidInput, NotFound
from skerry.kit.ids import uuid7
from skerry.node.store.entity_rows import EntityRows
from skerry.node.store.shared_rows import SharedRows
from skerry.node.twin_ports import NodeAlert
from skerry.node.twins.alert_notices import AlertNotices
from skerry.node.twins.rows import TwinStore
from skerry.wire.entities import Change, Changes, Declare, EntityRow, Filter, Find
from skerry.wire.shared import Declaration

ALERTS = Declaration(
    strategy="merge",
    fallback="last_modified",
    fields={"dedupe_count": "sum"},
    priority="high",
)

MOST_OPEN = 200
"""Of one twin, alerts that are not over: a program that raises more is refused. The node itself is not."""

MOST_OVER = 200
"""Of one twin, alerts that are over: the oldest go when another is raised."""

_RECENT = 600 * NS
"""So old may a change be that is told of when nobody knows whether it was: by an agent that has just begun."""

_REST = 0.2
"""Seconds between two looks: other entities may change all the time."""


class Alert(msgspec.Struct, frozen=True):
    """One version of an alert. `body` has all of its keys but the UUID; `told` is the whole of it."""

    uuid: str
    revision: int
    body: Body

    @property
    def twin(self) -> str:
        """Its twin's UUID; empty for one that somebody has made of none."""
        twin = self.body.get("twin_uuid")
        return twin if isinstance(twin, str) else ""

    @property
    def is_over(self) -> bool:
        """Whether nobody has to care for it any more."""
        return self.body.get("status") in OVER

    @property
    def told(self) -> Body:
        """As Cyberwave's programs read it."""
        return {"uuid": self.uuid, **self.body}


def alerts_of(environment: str) -> str:
    """The entity of an environment's alerts. Raises InvalidInput for what is no UUID."""
    if not is_uuid(environment):
        raise InvalidInput(
            f"cannot use environment «{environment[:40]}»: that is no UUID, in lower case and with dashes"
        )
    return f"alerts_{environment.replace('-', '')}"


class AlertStore:
    """The alerts of `environment`. `open` comes first; `follow` runs as long as the agent.

    Only alerts of the twins in `twins` are told of by `notices`.
    """

    def __init__(
        self,
        rows: SharedRows,
        entities: EntityRows,
        environment: str,
        twins: TwinStore,
        notices: AlertNotices,
        clock: Clock,
    ) -> None:
        self.entity = alerts_of(environment)
        self._environment = environment
        self._rows = rows
        self._entities = entities
        self._twins = twins
        self._notices = notices
        self._clock = clock
        self._changing = asyncio.Lock()
        self._known: dict[str, dict[str, int]] = {}
        """By twin: the revision of each of its alerts that containers were told of."""

    async def open(self) -> None:
        """Shares the entity from now on."""
        await self._entities.declare(self.entity, Declare(ALERTS))
        await self.read()

    async def follow(self) -> None:
        """Tells of what others change, for ever."""
        rings = Rings([self._rows.arrived, self._twins.changed])
        while True:
            rings.note()
            await self.read()
            await self._clock.sleep(_REST)
            await rings.next(self._clock)

    async def read(self) -> None:
        """Looks at what is in the store now, and tells of what has changed; of a twin that is new here, lately."""
        async with self._changing:
            linked = {twin.uuid for twin in self._twins.linked()}
            for twin in self._known.keys() - linked:
                del self._known[twin]
            for twin in linked:
                found = {alert.uuid: alert for alert in await self.of_twin(twin)}
                revisions = {uuid: alert.revision for uuid, alert in found.items()}
                known = self._known.get(twin)
                if known is None:
                    known = self._older(found.values())
                self._known[twin] = revisions
                for uuid, alert in found.items():
                    if known.get(uuid) != alert.revision:
                        self._notices.tell(twin, alert.told)
                for uuid in known.keys() - found.keys():
                    self._tell_gone(twin, uuid)

    async def tell(self, twin: str, alert: NodeAlert) -> str:
        kind = kind_of(alert.kind)
        asked: Body = {
            "name": kind.title,
            "description": alert.description,
            "alert_type": alert.kind,
            "severity": kind.severity,
            "twin_uuid": twin,
            "metadata": decoded(encoded(dict(alert.metadata))),
        }
        return (await self._raised(asked, force=alert.force or kind.force)).uuid

    async def amend(self, uuid: str, metadata: Mapping[str, Value], description: str = "") -> None:
        added = decoded(encoded(dict(metadata)))
        await self._change_if_there(
            uuid, lambda held, at: folding.amended(held, added, description, at)
        )

    async def resolve(self, uuid: str) -> None:
        await self._change_if_there(uuid, lambda held, at: folding.over(held, "resolved", at))

    async def resolve_kind(self, twin: str, kind: str) -> None:
        for alert in await self.of_twin(twin):
            if alert.body.get("alert_type") == kind and not alert.is_over:
                await self.resolve(alert.uuid)

    async def raise_for_program(self, asked: Mapping[str, Value], *, force: bool) -> Alert:
        """A new alert of these fields, or an equal one that is active, counted once more unless `force`.

        Raises Busy for a twin that has too many open ones; InvalidInput, TooLarge, Transient.
        """
        return await self._raised(asked, force=force, most=MOST_OPEN)

    async def get(self, uuid: str) -> Alert | None:
        """One alert of the environment."""
        found = await self._find(Find(ids=[uuid]))
        return found[0] if found else None

    async def of_twin(self, twin: str) -> Sequence[Alert]:
        """All alerts of a twin, the newest first."""
        return await self._find(Find(where=[Filter("twin_uuid", msgspec.Raw(encoded(twin)))]))

    async def change(self, uuid: str, make: Callable[[Body, str], Body]) -> Alert:
        """Makes the alert what `make` says of it and of the time. Raises NotFound, InvalidInput, TooLarge, Transient."""
        async with self._changing:
            return await self._changed(uuid, make)

    async def delete(self, uuid: str) -> None:
        """Removes an alert, at the hub too; one that is gone is fine."""
        async with self._changing:
            alert = await self.get(uuid)
            if alert is not None:
                await self._remove([alert])

    async def _raised(
        self, asked: Mapping[str, Value], *, force: bool, most: int | None = None
    ) -> Alert:
        around = await self._twins.environment() or {}
        placed = {
            "workspace_uuid": around.get("workspace_uuid"),
            **asked,
            "environment_uuid": self._environment,
        }
        async with self._changing:
            new = folding.raised(placed, self._now())
            held = await self.of_twin(str(new["twin_uuid"]))
            same = [one.uuid for one in held if folding.folds(one.body, new)]
            if same and not force:
                with contextlib.suppress(NotFound):
                    return await self._folded(same[0], new)
            still_open = sum(not one.is_over for one in held)
            if most is not None and still_open >= most:
                raise Busy(
                    f"cannot raise alert «{new['name']}»: {still_open} others are open there. Resolve some of them."
                )
            alert = await self._created(new)
            await self._remove([one for one in held if one.is_over][MOST_OVER - 1 :])
            return alert

    async def _folded(self, uuid: str, new: Body) -> Alert:
        """Raises NotFound where the hub has resolved or removed it meanwhile."""

        def once_more(held: Body, at: str) -> Body:
            if not folding.folds(held, new):
                raise NotFound(f"alert {uuid} is over")
            return folding.folded(held, new, at)

        return await self._changed(uuid, once_more)

    async def _created(self, body: Body) -> Alert:
        uuid = uuid7(self._clock)
        change = Change("create", uuid, msgspec.Raw(encoded(body)))
        made = await self._entities.change(self.entity, Changes([change]))
        return self._noted(Alert(uuid, made.rows[0].revision, body))

    async def _changed(self, uuid: str, make: Callable[[Body, str], Body]) -> Alert:
        """Tells of it, where it is another now."""
        at = self._now()
        before: list[int] = []

        def changed(held: Body, revision: int) -> Body:
            before.append(revision)
            return make(held, at)

        body, revision = await self._entities.revise(self.entity, uuid, changed)
        alert = Alert(uuid, revision, folding.completed(body))
        return alert if revision == before[-1] else self._noted(alert)

    async def _change_if_there(self, uuid: str, make: Callable[[Body, str], Body]) -> None:
        try:
            await self.change(uuid, make)
        except NotFound:
            return

    async def _remove(self, alerts: Collection[Alert]) -> None:
        if not alerts:
            return
        gone = [Change("delete", alert.uuid) for alert in alerts]
        await self._entities.change(self.entity, Changes(gone))
        for alert in alerts:
            if self._known.get(alert.twin, {}).pop(alert.uuid, None) and not alert.is_over:
                self._tell_gone(alert.twin, alert.uuid)

    def _older(self, alerts: Collection[Alert]) -> dict[str, int]:
        """Those of which an agent before this one has told for sure."""
        lately = iso(self._clock.wall_ns() - _RECENT)
        return {
            alert.uuid: alert.revision
            for alert in alerts
            if str(alert.body.get("updated_at")) < lately
        }

    def _noted(self, alert: Alert) -> Alert:
        """A change that was made here, of a twin that is this device's or was when it was raised."""
        self._notices.tell(alert.twin, alert.told)
        if alert.twin in self._known:
            self._known[alert.twin][alert.uuid] = alert.revision
        return alert

    def _tell_gone(self, twin: str, uuid: str) -> None:
        """There is no word for one that was removed; to whoever has raised it, it is over."""
        self._notices.tell(twin, {"uuid": uuid, "twin_uuid": twin, "status": "resolved"})

    async def _find(self, asked: Find) -> list[Alert]:
        found: list[Alert] = []
        while True:
            page = await self._entities.find(self.entity, asked)
            found += [_alert(row) for row in page.rows]
            if not page.next:
                return sorted(found, key=_age, reverse=True)
            asked = msgspec.structs.replace(asked, after=page.next)

    def _now(self) -> str:
        return iso(self._clock.wall_ns())


def _alert(row: EntityRow) -> Alert:
    return Alert(row.id, row.revision, folding.completed(decoded(bytes(row.body))))


def _age(alert: Alert) -> tuple[str, str]:
    return str(alert.body.get("created_at")), alert.uuid
