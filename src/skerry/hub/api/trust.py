"""Certificates over HTTP: the roots to believe, for anyone, and renewal, for the node that has the key. See ADR 24."""

from __future__ import annotations

from litestar import HttpMethod, Router, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody

from skerry.hub.api.auth import ANYONE, CONFIGURE, READ, RENEWAL, AuthenticatedRequest
from skerry.hub.api.bodies import WireBody
from skerry.hub.enrolling import Enrolling
from skerry.kit.errors import NotFound
from skerry.wire.trust import Renew, Renewed, TrustBundle, TrustView


@get("/trust/v1/bundle", opt=ANYONE)
async def show_bundle(enrolling: NamedDependency[Enrolling]) -> TrustBundle:
    """The roots that the fleet believes. Who asks for the first time compares them with its token's fingerprint."""
    return enrolling.bundle


@post(
    "/trust/v1/renew",
    dto=WireBody[Renew],
    return_dto=None,
    status_code=200,
    opt=RENEWAL,
    response_headers={"Connection": "close"},  # the next request shows the new certificate
)
async def renew(
    request: AuthenticatedRequest, data: JSONBody[Renew], enrolling: NamedDependency[Enrolling]
) -> Renewed:
    """The next certificate for the key that this connection has proved, also a while after the last one's end."""
    return await enrolling.renew(request.user.id, data)


def trust_routes() -> Router:
    """Every route about certificates."""
    return Router("/", route_handlers=[show_bundle, renew])


@get("/api/v1/trust", opt=READ)
async def show_trust(enrolling: NamedDependency[Enrolling]) -> TrustView:
    """The fleet's roots, what this hub issues under, and which nodes have not heard of the newest root."""
    return await enrolling.authority.view()


@post("/api/v1/trust/rotate", status_code=200, opt=CONFIGURE)
async def rotate(enrolling: NamedDependency[Enrolling]) -> TrustView:
    """Adds a root that the fleet believes from now on; everything is issued under the present one until `finish`."""
    await enrolling.authority.rotate()
    return await enrolling.authority.view()


@post("/api/v1/trust/finish", status_code=200, opt=CONFIGURE)
async def finish(
    *, enrolling: NamedDependency[Enrolling], force: FromQuery[bool] = False
) -> TrustView:
    """Issues under the new root from now on. Refused while nodes have not heard of it, unless `force`."""
    await enrolling.authority.finish(force=force)
    return await enrolling.authority.view()


def root_routes() -> Router:
    """Every route about the fleet's roots that people use."""
    return Router("/", route_handlers=[show_trust, rotate, finish])


def elsewhere_routes(address: str) -> Router:
    """Tells nodes that ask people's listener where they are served."""

    @route(
        ["/sync/v1/{rest:path}", "/trust/v1/{rest:path}", "/enrol/v1", "/enrol/v1/{rest:path}"],
        http_method=[HttpMethod.GET, HttpMethod.POST],
        opt=ANYONE,
    )
    async def elsewhere() -> None:
        """Serves no node."""
        raise NotFound(f"cannot serve nodes here: they are served at {address}, with certificates")

    return Router("/", route_handlers=[elsewhere])
