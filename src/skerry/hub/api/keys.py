"""The keys of encryption at rest over HTTP, for `skerry hub key`."""

from __future__ import annotations

from litestar import Router, get, post
from litestar.di import NamedDependency

from skerry.hub.api.auth import CONFIGURE, READ
from skerry.hub.store.rotation import Rotation
from skerry.wire.local import KeyStatus


@get("/api/v1/keys", opt=READ)
async def key_status(rotation: NamedDependency[Rotation]) -> KeyStatus:
    """The data keys of the store, how they are sealed, and whether a rotation is under way."""
    return rotation.status()


@post("/api/v1/keys/rotate", status_code=200, opt=CONFIGURE)
async def rotate_keys(rotation: NamedDependency[Rotation]) -> KeyStatus:
    """Makes a new key; what is sealed with the old one follows, and then that is destroyed."""
    return await rotation.rotate()


def key_routes() -> Router:
    """Every route about keys."""
    return Router("/", route_handlers=[key_status, rotate_keys])
