"""Twins of Cyberwave's and alerts about them, as the rows say that devices share with the hub. docs/reference/twins.md."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from skerry.cli.http import Api
from skerry.core.cyberwave.alert_kinds import OVER
from skerry.core.cyberwave.ownership import Kind, guarded
from skerry.core.cyberwave.shown import text_of
from skerry.core.merging.bodies import Body, decoded
from skerry.wire.entities import Filter, Find, Found
from skerry.wire.rows import EntityView

_NOT_OVER = Filter("resolved_at", msgspec.Raw(b"null"), or_absent=True)


@dataclass(frozen=True)
class Twin:
    """A twin's row, and what is known of its driver; both are what strangers wrote."""

    uuid: str
    body: Body
    presence: Body


@dataclass(frozen=True)
class Alert:
    """An alert's row and its twin's; either may lack anything."""

    uuid: str
    body: Body
    twin: Body


async def find_twins(hub: Api) -> list[Twin]:
    """The twins of all environments."""
    found = []
    for entity in await _entities(hub, "twins"):
        presence = entity.replace("twins", "presence", 1)
        presences = {row: body async for row, body in _rows(hub, presence, Find())}
        found += [
            Twin(row, body, presences.get(row, {}))
            async for row, body in _rows(hub, entity, Find())
        ]
    return found


async def find_alerts(hub: Api, *, every: bool) -> list[Alert]:
    """Alerts of all environments; those that are over only with `every`."""
    asked = Find() if every else Find(where=[_NOT_OVER])
    found = []
    for entity in await _entities(hub, "alerts"):
        of_twins = entity.replace("alerts", "twins", 1)
        twins = {row: body async for row, body in _rows(hub, of_twins, Find())}
        found += [
            Alert(row, body, twins.get(text_of(body, "twin_uuid"), {}))
            async for row, body in _rows(hub, entity, asked)
            if every or body.get("status") not in OVER
        ]
    return found


async def _entities(hub: Api, kind: Kind) -> list[str]:
    """The entities of this kind, one for each environment."""
    views = await hub.get("/api/v1/entities", list[EntityView])
    kinds = {each.entity: guarded(each.entity) for each in views}
    return [name for name, one in kinds.items() if one is not None and one.kind == kind]


async def _rows(hub: Api, entity: str, asked: Find) -> AsyncIterator[tuple[str, Body]]:
    """The rows that fit, as many answers as it takes."""
    while True:
        found = await hub.send("POST", f"/api/v1/entities/{entity}/find", asked, Found)
        for row in found.rows:
            yield row.id, decoded(bytes(row.body))
        if not found.next:
            return
        asked = msgspec.structs.replace(asked, after=found.next)
