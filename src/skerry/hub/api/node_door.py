"""Who is asking on the listener for nodes: whom the connection's certificate names, judged anew at every request.

TLS has verified that one of the fleet's authorities signed it for a client and that the peer has its key. Here it is
decided whether that is still a node's key, and whether the certificate's time is now.
"""

from __future__ import annotations

from litestar.handlers import BaseRouteHandler

from skerry.hub.api.auth import Connection, Needed, NotAllowed, NotAuthenticated, Principal
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.http_protocol import PEER
from skerry.hub.trust.certificates import Peer
from skerry.hub.trust.roots import RENEWABLE
from skerry.kit.clock import Clock, iso


class NodeDoor:
    """The guard of every route for nodes, where they have certificates."""

    def __init__(self, fleet: str, nodes: Nodes, clock: Clock) -> None:
        self._fleet = fleet
        self._nodes = nodes
        self._clock = clock

    async def permit(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Sets the connection's user. Raises NotAuthenticated or NotAllowed."""
        needed: Needed | None = handler.opt.get("permission")
        connection.scope["user"] = nobody = Principal("nobody", "", self._fleet)
        if needed == "anyone":
            return
        if needed not in {"node", "renewal"}:
            raise NotAllowed("cannot use this route as a node: it is for people")
        peer: Peer | None = connection.scope["state"][PEER]
        fault = lacking(peer, needed, self._clock.wall_ns())
        if (
            not fault
            and peer is not None
            and not await self._nodes.keys.has(peer.id, peer.key_hash)
        ):
            fault = (
                "the hub does not believe this node's key: it was deleted, revoked or enrolled with another one. Enrol "
                "it with a new token"
            )
        if fault or peer is None:
            connection.scope["user"] = Principal("nobody", nobody.id, self._fleet, fault=fault)
            raise NotAuthenticated(f"cannot use this route: {fault}.")
        connection.scope["user"] = Principal("node", peer.id, self._fleet)


def lacking(peer: Peer | None, needed: Needed, now: int) -> str:
    """Why whoever shows this certificate may not ask for what needs this permission; empty when it may."""
    if peer is None or peer.party != "node":
        return "the connection shows no certificate of a node of this fleet. Enrol the node"
    if now < peer.not_before:
        return f"the certificate is not valid before {iso(peer.not_before)}. Compare the clocks of both"
    if now < peer.not_after:
        return ""
    if needed == "renewal" and now < peer.not_after + RENEWABLE:
        return ""
    if now < peer.not_after + RENEWABLE:
        return (
            f"the certificate ended at {iso(peer.not_after)}. It may be renewed, and nothing else"
        )
    return f"the certificate ended at {iso(peer.not_after)}, too long ago to renew it. Enrol the node with a new token"
