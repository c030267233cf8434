"""A person's tunnel to a port of a node: a WebSocket that carries bytes until either end, or the hub, ends it (`carrying`).

Its beginning and end stand in the audit log. See docs/operate/developer-access.md.
"""

from __future__ import annotations

from litestar import Router, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath

from skerry.hub.api.asked_by import asked_by
from skerry.hub.api.auditing import Auditing
from skerry.hub.api.auth import CARRY, Authenticator, find_node
from skerry.hub.api.carrying import Carrying, PersonSocket, say_good_bye
from skerry.hub.api.nodes import GivenClock
from skerry.hub.api.problems import status_of
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.other_hub import FORWARDED
from skerry.hub.trust.ssh_authority import SshAuthority
from skerry.hub.tunnels import Tunnels
from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput, SkerryError


@websocket("/api/v1/nodes/{node:str}/tunnel/{port:int}", opt=CARRY)
async def open_tunnel(  # noqa: PLR0913 - all that takes part
    *,
    socket: PersonSocket,
    node: FromPath[str],
    port: FromPath[int],
    nodes: NamedDependency[Nodes],
    tunnels: NamedDependency[Tunnels],
    auditing: NamedDependency[Auditing],
    authenticator: NamedDependency[Authenticator],
    ssh_authority: NamedDependency[SshAuthority],
    clock: GivenClock,
) -> None:
    """Bytes to and from a port of a node that its settings allow, through its live link."""
    await socket.accept()
    carrying = Carrying(socket, tunnels.limits, authenticator, clock)
    status, words, begun = 499, "the hub ended", clock.monotonic_ns()
    try:
        node_id = await _found(socket, nodes, node, port)
        by, forwarded = asked_by(socket), FORWARDED in socket.headers
        carrying.judge = await ssh_authority.login(by, node_id, port)
        await carrying.run(await tunnels.open(node_id, node, port, by=by, forwarded=forwarded))
        status, words = 200, ""
    except SkerryError as error:
        status, words = status_of(error), str(error)
    except (WebSocketDisconnect, OSError):  # the person has gone
        status, words = 200, ""
    finally:
        lasted = (clock.monotonic_ns() - begun) / NS
        told = f"{carrying.up} bytes to it, {carrying.down} back, {lasted:.0f} s"
        await auditing.ended(socket, status, f"{told}; {words}".rstrip("; "))
    await say_good_bye(socket, words)


async def _found(socket: PersonSocket, nodes: Nodes, node: str, port: int) -> str:
    if not 1 <= port <= 65535:
        raise InvalidInput(f"cannot open a tunnel: {port} is not a port from 1 to 65535")
    return await find_node(socket, nodes, node, "open a tunnel")


def tunnel_routes() -> Router:
    """The routes of tunnels."""
    return Router("/", route_handlers=[open_tunnel])
