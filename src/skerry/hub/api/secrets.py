"""Secrets: set, listed and deleted by people. No route answers a value."""

from __future__ import annotations

from litestar import Router, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from skerry.hub.api.auditing import note
from skerry.hub.api.auth import READ, WRITE, AuthenticatedRequest
from skerry.hub.api.bodies import WireBody
from skerry.hub.changes import Changes
from skerry.hub.fleet.secrets import Secrets
from skerry.wire.secret_views import SecretPut, SecretView


@get("/api/v1/secrets", opt=READ)
async def list_secrets(
    secrets: NamedDependency[Secrets], name: FromQuery[str | None] = None
) -> list[SecretView]:
    """Every secret without its value, with the workloads and nodes that have it."""
    return await secrets.list(name)


@put("/api/v1/secrets/{name:str}", dto=WireBody[SecretPut], return_dto=None, opt=WRITE)
async def set_secret(
    request: AuthenticatedRequest,
    name: FromPath[str],
    data: JSONBody[SecretPut],
    secrets: NamedDependency[Secrets],
    changes: NamedDependency[Changes],
) -> SecretView:
    """Gives a secret a new value, in base64; the workloads that name it get it."""
    view = await secrets.set(name, data, request.user.id)
    note(request, f"version {view.version}")
    changes.announce()
    return view


@delete("/api/v1/secrets/{name:str}", opt=WRITE)
async def delete_secret(name: FromPath[str], secrets: NamedDependency[Secrets]) -> None:
    """Forgets a secret that no workload names."""
    await secrets.delete(name)


def secret_routes() -> Router:
    """Everything about secrets."""
    return Router("/", route_handlers=[list_secrets, set_secret, delete_secret])
