"""Twins: read, edited, their drivers' schemas and joints.

What may be edited, and with which types, is what a driver may edit in its twin's file (`twins.edits`).
"""

from __future__ import annotations

from collections.abc import Callable

from skerry.core.cyberwave import schemas
from skerry.core.cyberwave.catalogs import compiled, merged
from skerry.core.merging.bodies import Body, Value
from skerry.kit.clock import iso
from skerry.kit.errors import InvalidInput, Refused
from skerry.node.api import web
from skerry.node.api.answers import json_answer
from skerry.node.contracts.cyberwave_api.asking import (
    body_in,
    grant_in,
    listed,
    named,
    no_such,
    twin_in,
)
from skerry.node.contracts.cyberwave_api.sources import Sources
from skerry.node.twins.edits import NULLABLE, edit_of
from skerry.node.twins.rows import Twin, TwinStore

_STATE = {f"{place}_{axis}" for place in ("position", "scale") for axis in "xyz"} | {
    f"rotation_{axis}" for axis in "wxyz"
}
_MERGED = "edge_configs"
"""Of metadata, the part of which a caller replaces only what it names: the rest says who serves the twin."""


def shown(twin: Twin) -> Body:
    """A twin with all that its readers require; `updated_at` is another for each version, so it can be expected."""
    return {
        **schemas.completed(schemas.TWIN, twin.uuid, twin.body),  # type: ignore[dict-item]
        "updated_at": revision_text(twin.revision),
    }


def revision_text(revision: int) -> str:
    """A row's version as a time that no other version of it has."""
    milliseconds, count = divmod(revision, 1 << 16)
    return iso(milliseconds * 1_000_000 + count)


class Twins:
    """The routes below /api/v1/twins, and an environment's twins."""

    def __init__(self, sources: Sources) -> None:
        self._environment = sources.environment
        self._twins: TwinStore = sources.twins

    def add_to(self, app: web.Application) -> None:
        """Adds the routes."""
        one = "/api/v1/twins/{twin}"
        app.router.add_get("/api/v1/twins", self.all)
        app.router.add_get("/api/v1/twins/by-slug", self.by_slug)
        app.router.add_get("/api/v1/environments/{environment}/twins", self.of_environment)
        app.router.add_get(one, self.get)
        app.router.add_put(one, self.put)
        app.router.add_patch(f"{one}/state", self.state)
        app.router.add_post(f"{one}/driver-schema", self.driver_schema)

    async def all(self, request: web.Request) -> web.StreamResponse:
        return listed(request, [shown(twin) for twin in self._own(request)])

    async def by_slug(self, request: web.Request) -> web.StreamResponse:
        slug = request.query.get("slug", "")
        for twin in self._own(request):
            if slug and twin.body.get("slug") == slug:
                return json_answer(shown(twin))
        raise no_such("twin", slug)

    async def of_environment(self, request: web.Request) -> web.StreamResponse:
        if named(request, "environment") != self._environment:
            raise no_such("environment", named(request, "environment"))
        return await self.all(request)

    async def get(self, request: web.Request) -> web.StreamResponse:
        return json_answer(shown(twin_in(request, self._twins)))

    async def put(self, request: web.Request) -> web.StreamResponse:
        return await self._edited(request, await body_in(request))

    async def state(self, request: web.Request) -> web.StreamResponse:
        body = await body_in(request)
        known = _STATE | {"expected_revision"}
        return await self._edited(
            request, {key: value for key, value in body.items() if key in known}
        )

    async def driver_schema(self, request: web.Request) -> web.StreamResponse:
        twin = twin_in(request, self._twins)
        body = await body_in(request)
        told = body.get("driver_config")
        if not isinstance(told, dict):
            raise InvalidInput("cannot take the driver's schema: «driver_config» is no object")
        catalogs = compiled(told)

        def make(now: Body, revision: int) -> Body:
            check_expected(body.get("expected_revision"), revision)
            metadata = _object(now.get("metadata"))
            for name, catalog in catalogs.items():
                whole = body.get("merge", True) is False
                metadata = metadata | {
                    name: catalog if whole else merged(metadata.get(name), catalog)
                }
            return now | {"metadata": metadata}

        return await self._made(twin, make)

    def _own(self, request: web.Request) -> list[Twin]:
        own = grant_in(request).twins
        return [twin for twin in self._twins.linked() if twin.uuid in own]

    async def _edited(self, request: web.Request, body: Body) -> web.StreamResponse:
        twin = twin_in(request, self._twins)
        given: Body = {
            key: value for key, value in body.items() if value is not None or key in NULLABLE
        }
        expected, expected_asset = given.get("expected_revision"), given.get("expected_asset_uuid")
        try:
            patch = edit_of(given, []).patch
        except InvalidInput as error:
            raise InvalidInput(f"cannot edit twin {twin.uuid}: {error}") from error

        def make(now: Body, revision: int) -> Body:
            check_expected(expected, revision)
            if expected_asset is not None and expected_asset != now.get("asset_uuid"):
                raise Refused(
                    f"cannot edit twin {twin.uuid}: it is a model of another asset by now"
                )
            return edited(now, patch)

        return await self._made(twin, make)

    async def _made(self, twin: Twin, make: Callable[[Body, int], Body]) -> web.StreamResponse:
        return json_answer(shown(await self._twins.revise(twin.uuid, make)))


def check_expected(expected: Value, revision: int) -> None:
    """Raises Refused when the twin is another by now than the caller has seen."""
    if expected is not None and expected != revision_text(revision):
        raise Refused(
            f"cannot edit the twin: it is at {revision_text(revision)} by now. Read it again."
        )


def edited(now: Body, patch: Body) -> Body:
    """A twin after an edit: fields are replaced, of metadata the keys that the edit names."""
    after = now | {key: value for key, value in patch.items() if key != "metadata"}
    if "metadata" in patch:
        held, new = _object(now.get("metadata")), _object(patch["metadata"])
        if _MERGED in new:
            new = new | {_MERGED: _merged(_object(held.get(_MERGED)), new[_MERGED])}
        after["metadata"] = held | _without_peoples(new)
    return after


def _without_peoples(new: Body) -> Body:
    return {key: value for key, value in new.items() if key not in {"edge_fingerprint", "drivers"}}


def _merged(held: Body, new: Value) -> Value:
    """Objects key by key, everything else replaced."""
    if not isinstance(new, dict):
        return new
    merged = dict(held)
    for key, value in new.items():
        before = merged.get(key)
        merged[key] = _merged(before, value) if isinstance(before, dict) else value
    return merged


def _object(value: Value) -> Body:
    return value if isinstance(value, dict) else {}
