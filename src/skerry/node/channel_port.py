"""What a feature needs of a channel of the live link that it serves, in its words. `sync.channels` implements it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol


class ServedChannel(Protocol):
    """A channel that the hub has opened, for the service that its kind names (`sync.channels`).

    Every call raises Transient once the link is gone. `stream` tells apart what one channel carries side by side.
    """

    arguments: Mapping[str, str]

    async def accept(self) -> None:
        """Tells the hub that it is served; what prevents that is raised before."""
        ...

    async def send(self, data: bytes, stream: int = 0) -> None:
        """Returns when the bytes are on their way, which is when the other side has room for them."""
        ...

    async def end(self) -> None:
        """Nothing more is sent."""
        ...

    async def receive(self) -> tuple[bytes, int] | None:
        """The next bytes and their stream, whose credit is granted again; None when the other side sends no more."""
        ...


ChannelService = Callable[[ServedChannel], Awaitable[None]]
"""Serves a channel until it ends. Raises a SkerryError whose words are for the person at the other end."""
