"""Diagnostics bundles of any node of the fleet: from its live link here, or through the hub process that holds it.

Between processes they travel as `other_hub` says. The hub keeps nothing of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol
from urllib.parse import quote

from skerry.hub.channel import Channel
from skerry.hub.link import Links
from skerry.hub.other_hub import ASKED_BY, ask
from skerry.hub.peers import Peers
from skerry.kit.errors import Refused
from skerry.wire.bundles import KIND, LONGEST, MOST_BYTES
from skerry.wire.link import Bytes


class Pieces(Protocol):
    """Bytes for one reader, who closes them when done. Raise what ended them early."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def close(self) -> None: ...


class Bundles:
    """Asks nodes for bundles."""

    def __init__(self, links: Links, peers: Peers, admin_token: str) -> None:
        self._links = links
        self._peers = peers
        self._admin_token = admin_token

    async def open(self, node_id: str, node: str, *, by: str, forwarded: bool) -> Pieces:
        """The bytes of a new bundle, for `by`; `node` is what the node was called. Raises as `Links.open`, and Transient when the other process does not answer."""
        if not forwarded and not self._links.connected(node_id):
            holder = await self._peers.holder(node_id)
            if holder is not None:
                path = f"{holder}/api/devices/{node_id}/diagnostics"
                # The other one answers when the node has the first bytes.
                return await ask(
                    path,
                    self._admin_token,
                    first=LONGEST,
                    whole=LONGEST,
                    headers={ASKED_BY: quote(by)},
                )
        return _Direct(await self._links.open(node_id, node, KIND, {"by": by}))


class _Direct:
    """A channel on a link of this process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        while (message := await self._channel.receive()) is not None:
            if isinstance(message, Bytes):  # nothing else has a meaning here
                left -= len(message.data)
                if left < 0:
                    raise Refused(
                        f"cannot take the diagnostics bundle: the node sends more than {MOST_BYTES >> 20} MiB"
                    )
                yield message.data

    async def close(self) -> None:
        self._channel.close()
