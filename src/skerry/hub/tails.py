"""Log tails of any node of the fleet: from its live link here, or through the hub process that holds it.

Between processes they travel as `other_hub` says. `api.people` asks.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from typing import Protocol

from skerry.hub.channel import Tail
from skerry.hub.link import FIRST_ANSWER, Links
from skerry.hub.other_hub import Answer, ask
from skerry.hub.peers import Peers


class Texts(Protocol):
    """Texts for one reader, who closes them when done."""

    def __aiter__(self) -> AsyncIterator[str]: ...

    async def close(self) -> None: ...


class Tails:
    """Opens log tails."""

    def __init__(self, links: Links, peers: Peers, admin_token: str) -> None:
        self._links = links
        self._peers = peers
        self._admin_token = admin_token

    async def open(
        self, node_id: str, node: str, workload: str, arguments: dict[str, str], *, forwarded: bool
    ) -> Texts:
        """Lines of a workload's log; `node` is what the node was called. Raises as `Links.open`, and Transient when the other process does not answer."""
        if not forwarded and not self._links.connected(node_id):
            holder = await self._peers.holder(node_id)
            if holder is not None:
                path = f"{holder}/api/v1/nodes/{node}/logs/{workload}"
                # The other one waits for its node so long before it begins to answer.
                first = 2 * FIRST_ANSWER
                return _Forwarded(
                    await ask(path, self._admin_token, first=first, arguments=arguments)
                )
        wanted = {"workload": workload, **arguments}
        return Tail(await self._links.open(node_id, node, "logs", wanted))


class _Forwarded:
    """The answer of another hub process."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        async for chunk in self._answer:
            yield decoder.decode(chunk)

    async def close(self) -> None:
        await self._answer.close()
