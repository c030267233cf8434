"""Developer access by SSH over HTTP: people's certificates, and what nodes' sshd go by. See docs/operate/developer-access.md."""

from __future__ import annotations

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from skerry.hub.api.auditing import note
from skerry.hub.api.auth import CONFIGURE, EXECUTE_ON, NODE, AuthenticatedRequest, find_node
from skerry.hub.api.bodies import WireBody
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.trust.ssh_authority import Asking, SshAuthority
from skerry.kit.errors import Refused
from skerry.wire.ssh import (
    SshCertificate,
    SshCertificateRequest,
    SshCertificateView,
    SshNode,
    SshRevoke,
    SshRevoked,
    SshTrust,
)


@post(
    "/api/v1/nodes/{node:str}/ssh-certificates",
    dto=WireBody[SshCertificateRequest],
    return_dto=None,
    status_code=200,
    opt=EXECUTE_ON,
)
async def issue_ssh_certificate(
    request: AuthenticatedRequest,
    node: FromPath[str],
    data: JSONBody[SshCertificateRequest],
    nodes: NamedDependency[Nodes],
    ssh_authority: NamedDependency[SshAuthority],
) -> SshCertificate:
    """Makes an SSH certificate of the person who asks, for one node and a few minutes."""
    node_id = await find_node(request, nodes, node, "issue a certificate")
    role = request.user.role
    if role is None:  # the guard lets nobody in who has none
        raise Refused("cannot issue a certificate to somebody without a role")
    asking = Asking(request.user.id, role, node_id, node, request.user.bound.until)
    made = await ssh_authority.issue(data, asking)
    how = "limited" if made.limited else "a shell"
    note(request, f"certificate {made.serial}, {how}, for {data.ttl:.0f} s")
    return made


@get("/api/v1/access/ssh", opt=CONFIGURE)
async def list_ssh_certificates(
    ssh_authority: NamedDependency[SshAuthority],
) -> list[SshCertificateView]:
    """The newest SSH certificates, the last first."""
    return await ssh_authority.list()


@post(
    "/api/v1/access/ssh/revoke",
    dto=WireBody[SshRevoke],
    return_dto=None,
    status_code=200,
    opt=CONFIGURE,
)
async def revoke_ssh_certificates(
    request: AuthenticatedRequest,
    data: JSONBody[SshRevoke],
    ssh_authority: NamedDependency[SshAuthority],
) -> SshRevoked:
    """Takes SSH certificates back: nodes refuse them as soon as they have heard."""
    note(request, f"certificate {data.serial}" if data.serial else f"all of «{data.who}»")
    return await ssh_authority.revoke(data, request.user.id)


@post("/sync/v1/ssh", dto=WireBody[SshNode], return_dto=None, status_code=200, opt=NODE)
async def tell_ssh_trust(
    request: AuthenticatedRequest,
    data: JSONBody[SshNode],
    ssh_authority: NamedDependency[SshAuthority],
) -> SshTrust:
    """Gives a node whose sshd trusts this hub the authority's key, the revoked certificates, and its host certificate."""
    return await ssh_authority.trust(request.user.id, data)


def ssh_routes() -> Router:
    """Every route of people about SSH; that of nodes is among `nodes.node_routes`."""
    handlers = [issue_ssh_certificate, list_ssh_certificates, revoke_ssh_certificates]
    return Router("/", route_handlers=handlers)
