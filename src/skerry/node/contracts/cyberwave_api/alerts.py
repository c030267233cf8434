"""Alerts: raised, found, changed and resolved by the programs of the twins that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from skerry.core.cyberwave import folding
from skerry.core.cyberwave.alert_kinds import Category, Severity, Source, Status
from skerry.core.merging.bodies import Body, Value, decoded, encoded
from skerry.kit.errors import InvalidInput, NotFound
from skerry.node.api import web
from skerry.node.api.answers import Handler, json_answer
from skerry.node.contracts.cyberwave_api.asking import (
    grant_in,
    named,
    no_such,
    page,
    read,
    uuid_or,
)
from skerry.node.contracts.cyberwave_api.sources import Sources
from skerry.node.twins.alerts import Alert
from skerry.wire.codec import encode

_MOST_METADATA = 64 * 1024
"""Bytes."""

_DEFAULT, _MOST = 100, 500

Line = Annotated[str, msgspec.Meta(max_length=500)]
Text = Annotated[str, msgspec.Meta(max_length=20_000)]


class NewAlert(msgspec.Struct, frozen=True):
    """The body of a POST: `CreateAlertSchema` of SDK 0.7.4."""

    name: Line
    description: Text | None = None
    media: Text | None = None
    alert_type: Line | None = None
    severity: Severity | None = None
    source_type: Source | None = None
    category: Category | None = None
    twin_uuid: Line | None = None
    environment_uuid: Line | None = None
    workflow_uuid: Line | None = None
    workspace_uuid: Line | None = None
    metadata: dict[str, msgspec.Raw] | None = None
    force: bool | None = None


class AlertEdit(msgspec.Struct, frozen=True):
    """The body of a PUT: `UpdateAlertSchema`."""

    name: Line | None = None
    description: Text | None = None
    media: Text | None = None
    alert_type: Line | None = None
    severity: Severity | None = None
    status: Status | None = None
    category: Category | None = None
    metadata: dict[str, msgspec.Raw] | None = None


class Alerts:
    """The routes below /api/v1/alerts."""

    def __init__(self, sources: Sources) -> None:
        self._environment = sources.environment
        self._alerts = sources.alerts

    def add_to(self, app: web.Application) -> None:
        """Adds the routes."""
        one = "/api/v1/alerts/{alert}"
        app.router.add_get("/api/v1/alerts", self.find)
        app.router.add_post("/api/v1/alerts", self.create)
        app.router.add_get(one, self.get)
        app.router.add_put(one, self.put)
        app.router.add_delete(one, self.delete)
        for path, status in (
            ("acknowledge", "acknowledged"),
            ("resolve", "resolved"),
            ("silence", "silenced"),
        ):
            app.router.add_post(f"{one}/{path}", self._to(status))
        app.router.add_post(f"{one}/buttons/{{button}}", self.press)

    async def create(self, request: web.Request) -> web.StreamResponse:
        """One that names no twin is of the caller's first: the hub takes alerts of a device's twins only."""
        asked = await read(request, NewAlert, "alert")
        grant = grant_in(request)
        twin = uuid_or(asked.twin_uuid or next(iter(sorted(grant.twins)), ""))
        if twin not in grant.twins:
            raise no_such("twin", twin)
        if uuid_or(asked.environment_uuid or self._environment) != self._environment:
            raise no_such("environment", str(asked.environment_uuid))
        fields = _fields(asked) | {"twin_uuid": twin}
        force = fields.pop("force", None) is True
        return json_answer((await self._alerts.raise_for_program(fields, force=force)).told)

    async def find(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        own = grant_in(request).twins
        if uuid_or(query.get("environment_uuid", self._environment)) != self._environment:
            return json_answer([])
        twin = query.get("twin_uuid")
        wanted = [one for one in own if twin is None or one == uuid_or(twin)]
        statuses, severities = _words(query.get("status")), _words(query.get("severity"))
        limit, offset = page(request, _DEFAULT, _MOST)
        found = [
            alert
            for each in wanted
            for alert in await self._alerts.of_twin(each)
            if (not statuses or alert.body.get("status") in statuses)
            and (not severities or alert.body.get("severity") in severities)
            and query.get("workflow_uuid") in {None, alert.body.get("workflow_uuid")}
        ]
        found.sort(key=lambda alert: str(alert.body.get("created_at")), reverse=True)
        return json_answer([alert.told for alert in found[offset : offset + limit]])

    async def get(self, request: web.Request) -> web.StreamResponse:
        return json_answer((await self._own(request)).told)

    async def put(self, request: web.Request) -> web.StreamResponse:
        fields = _fields(await read(request, AlertEdit, "change of an alert"))
        return await self._made(request, lambda held, at: folding.changed(held, fields, at))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        await self._alerts.delete((await self._own(request)).uuid)
        return web.Response(status=204)

    async def press(self, request: web.Request) -> web.StreamResponse:
        """Whoever waits for the button hears of it on the alert's topic, and the hub by the alert itself."""
        number = named(request, "button")

        def pressed(held: Body, at: str) -> Body:
            metadata = held.get("metadata")
            buttons = metadata.get("buttons") if isinstance(metadata, dict) else None
            count = len(buttons) if isinstance(buttons, list) else 0
            if not number.isdecimal() or int(number[:9]) >= count:
                raise NotFound(
                    f"cannot press button «{number[:20]}»: the alert has {count} of them"
                )
            told: Body = {"button_index": int(number), "pressed_at": at}
            return folding.amended(held, {"button_pressed": told}, "", at)

        return await self._made(request, pressed)

    def _to(self, status: str) -> Handler:
        """The handler of an action that is a new status; one that is over already stays what it is."""

        async def act(request: web.Request) -> web.StreamResponse:
            return await self._made(request, lambda held, at: folding.over(held, status, at))

        return act

    async def _made(
        self, request: web.Request, make: Callable[[Body, str], Body]
    ) -> web.StreamResponse:
        uuid = (await self._own(request)).uuid
        return json_answer((await self._alerts.change(uuid, make)).told)

    async def _own(self, request: web.Request) -> Alert:
        uuid = named(request, "alert")
        alert = await self._alerts.get(uuid) if len(uuid) == 36 and uuid.isprintable() else None
        if alert is None or alert.twin not in grant_in(request).twins:
            raise no_such("alert", uuid)
        return alert


def _fields(asked: NewAlert | AlertEdit) -> dict[str, Value]:
    """What was given; null is as if it were not. Raises InvalidInput for metadata that are too long."""
    given: dict[str, Value] = {
        key: value for key, value in decoded(encode(asked)).items() if value is not None
    }
    if len(encoded(given.get("metadata"))) > _MOST_METADATA:
        raise InvalidInput(
            f"cannot take the alert: its metadata have more than {_MOST_METADATA} bytes"
        )
    return given


def _words(text: str | None) -> set[str]:
    return {word.strip() for word in (text or "").split(",")} - {""}
