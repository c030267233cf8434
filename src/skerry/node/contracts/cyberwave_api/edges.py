"""This device, as Cyberwave's programs call an edge, and the tokens of its drivers."""

from __future__ import annotations

from skerry.core.cyberwave import schemas
from skerry.core.cyberwave.linking import camera_config, edge_config
from skerry.kit.clock import NS, iso
from skerry.kit.errors import Refused
from skerry.node.api import web
from skerry.node.api.answers import json_answer
from skerry.node.contracts.cyberwave_api.asking import (
    body_in,
    detail,
    grant_in,
    listed,
    named,
    no_such,
    token_in,
    twin_in,
)
from skerry.node.contracts.cyberwave_api.catalog import elsewhere, uuid_of
from skerry.node.contracts.cyberwave_api.sources import Sources
from skerry.node.contracts.cyberwave_api.twins import shown
from skerry.node.twins.rows import Twin

_TOKEN_SECONDS = 24 * 3600
"""After which a program is to ask again; the token itself ends with its instance."""


class Edges:
    """The routes of the one edge that there is here."""

    def __init__(self, sources: Sources) -> None:
        self._device = sources.device
        self._twins = sources.twins
        self._clock = sources.clock
        self._uuid = uuid_of("edge", sources.device.fingerprint)

    def add_to(self, app: web.Application) -> None:
        """Adds the routes."""
        router = app.router
        router.add_get("/api/v1/edges", self.all)
        router.add_post("/api/v1/edges", self.register)
        router.add_post("/api/v1/edges/discover", self.discover)
        router.add_get("/api/v1/edges/{edge}", self.get)
        router.add_put("/api/v1/edges/{edge}", elsewhere)
        router.add_delete("/api/v1/edges/{edge}", elsewhere)
        router.add_get("/api/v1/edges/{edge}/twins", self.twins)
        router.add_delete("/api/v1/edges/{edge}/twins/{twin}", elsewhere)
        router.add_put("/api/v1/edges/{edge}/twins/{twin}/camera-config", camera_config_of_old)
        router.add_post("/api/v1/edges/{edge}/pair", elsewhere)
        router.add_post("/api/v1/edges/{edge}/restart-core", elsewhere)
        router.add_post("/api/v1/twins/{twin}/sync-workflows", elsewhere)
        router.add_post("/api/v1/twins/{twin}/driver-token", self.token)
        router.add_post("/api/v1/twins/{twin}/driver-token/{token}/renew", self.renewed)

    async def all(self, request: web.Request) -> web.StreamResponse:
        return listed(request, [self._shown()])

    async def get(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        return json_answer(self._shown())

    async def register(self, request: web.Request) -> web.StreamResponse:
        """It is there already, whatever is said of it."""
        await self._check_fingerprint(request)
        return json_answer(self._shown())

    async def discover(self, request: web.Request) -> web.StreamResponse:
        await self._check_fingerprint(request)
        answer = {
            "edge_uuid": self._uuid,
            "fingerprint": self._device.fingerprint,
            "twins": [self._bound(twin) for twin in self._own(request)],
        }
        return json_answer(answer)

    async def twins(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        return listed(request, [self._bound(twin) for twin in self._own(request)])

    async def token(self, request: web.Request) -> web.StreamResponse:
        """A program's own one: there is none that could do less."""
        twin_in(request, self._twins)
        children = (await body_in(request)).get("child_twin_uuids")
        for child in children if isinstance(children, list) else ():
            if child not in grant_in(request).twins:
                raise no_such("twin", str(child))
        return self._told_token(request)

    async def renewed(self, request: web.Request) -> web.StreamResponse:
        twin_in(request, self._twins)
        # The name of a token is no secret; the token itself is the caller's own, or it is not there.
        if named(request, "token") not in {token_in(request), self._token_name(request)}:
            raise no_such("token", "…")
        return self._told_token(request)

    def _told_token(self, request: web.Request) -> web.Response:
        ends = iso(self._clock.wall_ns() + _TOKEN_SECONDS * NS)
        answer = {
            "uuid": self._token_name(request),
            "token": token_in(request),
            "expires_at": ends,
        }
        return json_answer(answer)

    def _token_name(self, request: web.Request) -> str:
        return uuid_of("token", token_in(request))

    def _own(self, request: web.Request) -> list[Twin]:
        own = grant_in(request).twins
        return [twin for twin in self._twins.linked() if twin.uuid in own]

    def _bound(self, twin: Twin) -> dict[str, object]:
        config = camera_config(edge_config(twin.body, self._device.fingerprint))
        return {
            "twin_uuid": twin.uuid,
            "twin_name": shown(twin)["name"],
            "camera_config": config,
        }

    def _shown(self) -> dict[str, object]:
        now = iso(self._clock.wall_ns())
        device = self._device
        body = {
            "fingerprint": device.fingerprint,
            "name": device.hostname,
            "hostname": device.hostname,
            "platform": device.platform,
            "last_heartbeat": now,
            "last_seen_at": now,
            "updated_at": now,
        }
        return schemas.completed(schemas.EDGE, self._uuid, body)

    def _check(self, request: web.Request) -> None:
        if named(request, "edge") != self._uuid:
            raise no_such("edge", named(request, "edge"))

    async def _check_fingerprint(self, request: web.Request) -> None:
        told = (await body_in(request)).get("fingerprint")
        if told != self._device.fingerprint:
            raise Refused("cannot register another device here: it has a node of its own")


async def camera_config_of_old(_request: web.Request) -> web.StreamResponse:
    """Cyberwave's documentation says where it is now."""
    return detail(410, "cannot take a camera's configuration here: write the twin's metadata")
