"""What a twin belongs to: assets, environment, project, workspace. The callers' own, and nothing can be made here."""

from __future__ import annotations

import uuid

from skerry.core.cyberwave import schemas
from skerry.core.merging.bodies import Body, decoded, encoded
from skerry.node.api import web
from skerry.node.api.answers import json_answer
from skerry.node.contracts.cyberwave_api.asking import (
    body_in,
    detail,
    grant_in,
    listed,
    named,
    no_such,
)
from skerry.node.contracts.cyberwave_api.sources import Sources

OF_THE_HUB = "cannot do this on a device: ask the hub"

_NAMES = uuid.UUID("0b0c4a36-6f2e-5f5c-9d5e-5c1f6a1d7a10")
"""What the names of things are made UUIDs with that have none of their own here."""

_OF_NO_NAME = "Quickstart Environment"


def uuid_of(kind: str, name: str) -> str:
    """The same for the same name, on every device."""
    return str(uuid.uuid5(_NAMES, f"{kind}/{name}"))


class Catalog:
    """The routes of assets, environments, projects and workspaces."""

    def __init__(self, sources: Sources) -> None:
        self._environment = sources.environment
        self._twins = sources.twins

    def add_to(self, app: web.Application) -> None:
        """Adds the routes."""
        router = app.router
        router.add_get("/api/v1/assets", self.assets)
        router.add_get("/api/v1/assets/by-slug", self.asset_by_slug)
        router.add_get("/api/v1/assets/{asset}", self.asset)
        router.add_get("/api/v1/environments", self.environments)
        router.add_get("/api/v1/environments/by-slug", self.environment_by_slug)
        router.add_get("/api/v1/environments/{environment}", self.environment)
        router.add_get("/api/v1/projects", self.projects)
        router.add_get("/api/v1/projects/{project}", self.project)
        router.add_get("/api/v1/projects/{project}/environments", self.environments)
        router.add_get("/api/v1/users/workspaces", self.workspaces)
        router.add_get("/api/v1/users/workspaces/{workspace}", self.workspace)
        router.add_post("/api/v1/projects/{project}/environments", self.make_environment)
        for path in ("twins", "projects", "users/workspaces"):
            router.add_post(f"/api/v1/{path}", elsewhere)
        router.add_delete("/api/v1/twins/{twin}", elsewhere)

    async def assets(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        registry_id, words = query.get("registry_id"), query.get("search", "").lower()
        found = [
            asset
            for asset in self._own(request)
            if (registry_id is None or _is_called(asset, registry_id)) and _speaks_of(asset, words)
        ]
        return listed(request, found)

    async def asset(self, request: web.Request) -> web.StreamResponse:
        name = named(request, "asset")
        for asset in self._own(request):
            if name in {asset["uuid"], asset.get("slug")} or _is_called(asset, name):
                return json_answer(asset)
        raise no_such("asset", name)

    async def asset_by_slug(self, request: web.Request) -> web.StreamResponse:
        slug = request.query.get("slug", "")
        for asset in self._own(request):
            if slug and asset.get("slug") == slug:
                return json_answer(asset)
        raise no_such("asset", slug)

    async def environments(self, request: web.Request) -> web.StreamResponse:
        if "project" in request.match_info:
            await self._project(named(request, "project"))
        return listed(request, [await self._around()])

    async def environment(self, request: web.Request) -> web.StreamResponse:
        if named(request, "environment") != self._environment:
            raise no_such("environment", named(request, "environment"))
        return json_answer(await self._around())

    async def environment_by_slug(self, request: web.Request) -> web.StreamResponse:
        around, slug = await self._around(), request.query.get("slug", "")
        if not slug or around.get("slug") != slug:
            raise no_such("environment", slug)
        return json_answer(around)

    async def make_environment(self, request: web.Request) -> web.StreamResponse:
        """The SDK asks for one by this name where its program names none: that is the device's own."""
        await self._project(named(request, "project"))
        if (await body_in(request)).get("name") != _OF_NO_NAME:
            return await elsewhere(request)
        return json_answer(await self._around())

    async def projects(self, request: web.Request) -> web.StreamResponse:
        return listed(request, [_project(await self._around())])

    async def project(self, request: web.Request) -> web.StreamResponse:
        return json_answer(await self._project(named(request, "project")))

    async def workspaces(self, request: web.Request) -> web.StreamResponse:
        return listed(request, [await self._own_workspace()])

    async def workspace(self, request: web.Request) -> web.StreamResponse:
        found = await self._own_workspace()
        if found["uuid"] != named(request, "workspace"):
            raise no_such("workspace", named(request, "workspace"))
        return json_answer(found)

    async def _own_workspace(self) -> Body:
        around = await self._around()
        body: Body = {"name": "Workspace", "slug": "workspace"}
        return _completed(schemas.WORKSPACE, _workspace(around), body)

    async def _project(self, wanted: str) -> Body:
        found = _project(await self._around())
        if found["uuid"] != wanted:
            raise no_such("project", wanted)
        return found

    async def _around(self) -> Body:
        """The environment; before the hub has told of it, as much as is known."""
        body = await self._twins.environment() or {}
        around = _completed(schemas.ENVIRONMENT, self._environment, body)
        if not around["project_uuid"]:
            around["project_uuid"] = uuid_of("project", self._environment)
        return around

    def _own(self, request: web.Request) -> list[Body]:
        """The assets of the caller's twins, each once."""
        own = grant_in(request).twins
        found: dict[str, Body] = {}
        for twin in self._twins.linked():
            asset, name = self._twins.asset_of(twin), twin.body.get("asset_uuid")
            if twin.uuid in own and asset is not None and isinstance(name, str):
                found[name] = _completed(schemas.ASSET, name, asset)
        return list(found.values())


async def elsewhere(_request: web.Request) -> web.StreamResponse:
    """For what only the hub's people do."""
    return detail(403, OF_THE_HUB)


def _project(around: Body) -> Body:
    body: Body = {"name": "Project", "workspace_uuid": _workspace(around)}
    return _completed(schemas.PROJECT, str(around["project_uuid"]), body)


def _workspace(around: Body) -> str:
    return str(around.get("workspace_uuid") or uuid_of("workspace", str(around["uuid"])))


def _completed(schema: schemas.Body, name: str, body: Body) -> Body:
    return decoded(encoded(schemas.completed(schema, name, body)))  # type: ignore[arg-type]


def _is_called(asset: Body, name: str) -> bool:
    """By its registry id or the alias of that; the SDK writes them small."""
    names = (asset.get("registry_id"), asset.get("registry_id_alias"))
    return name.lower() in {each.lower() for each in names if isinstance(each, str) and each}


def _speaks_of(asset: Body, words: str) -> bool:
    texts = (asset.get(key) for key in ("name", "description", "registry_id", "slug"))
    return any(words in text.lower() for text in texts if isinstance(text, str))
