"""A person's tunnel to a port of a node: a WebSocket that carries bytes until either end, or the hub, ends it (`carrying`).

Its beginning and end stand in the audit log. See docs/operate/developer-access.md.
"""

from __future__ import annotations

from litestar import Router, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath

from skerry.hub.api.auditing import Auditing
from skerry.hub.api.auth import EXECUTE_ON, Authenticator, find_node
from skerry.hub.api.carrying import Carrying, PersonSocket, say_good_bye
from skerry.hub.api.nodes import GivenClock
from skerry.hub.api.problems import status_of
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.tails import FORWARDED
from skerry.hub.tunnels import Tunnel, Tunnels
from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput, SkerryError


@websocket("/api/v1/nodes/{node:str}/tunnel/{port:int}", opt=EXECUTE_ON)
async def open_tunnel(  # noqa: PLR0913 - all that takes part
    *,
    socket: PersonSocket,
    node: FromPath[str],
    port: FromPath[int],
    nodes: NamedDependency[Nodes],
    tunnels: NamedDependency[Tunnels],
    auditing: NamedDependency[Auditing],
    authenticator: NamedDependency[Authenticator],
    clock: GivenClock,
) -> None:
    """Bytes to and from a port of a node that its settings allow, through its live link."""
    await socket.accept()
    carrying = Carrying(socket, tunnels.limits, authenticator, clock)
    status, words, begun = 499, "the hub ended", clock.monotonic_ns()
    try:
        await carrying.run(await _opened(socket, nodes, tunnels, node, port))
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


async def _opened(
    socket: PersonSocket, nodes: Nodes, tunnels: Tunnels, node: str, port: int
) -> Tunnel:
    if not 1 <= port <= 65535:
        raise InvalidInput(f"cannot open a tunnel: {port} is not a port from 1 to 65535")
    node_id = await find_node(socket, nodes, node, "open a tunnel")
    return await tunnels.open(node_id, node, port, forwarded=FORWARDED in socket.headers)


def tunnel_routes() -> Router:
    """The routes of tunnels."""
    return Router("/", route_handlers=[open_tunnel])
