"""Whether the hub can be reached, since when, and why not. Written by `link`, read by the API and by whoever waits.

«Offline since» is a fact in the store, so that a node that restarts in an outage still knows when it began,
and workloads with `on_disconnect` can count from there. While the hub is reached the fact is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.wire.local import LinkStatus

OFFLINE_SINCE = "offline_since"
"""The fact's name; its value is in nanoseconds since 1970, as text, or empty."""

_STARTING = "not tried yet"
_NO_HUB = "this node belongs to no hub («skerry node enroll» changes that)"
_BY_CHOICE = "the settings say so (runtime.mode, runtime.offline_mode)"


class Facts(Protocol):
    """Single facts that survive a restart (`node.store.state.NodeStore`)."""

    async def fact(self, name: str) -> str | None: ...

    async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None: ...


class Reachability:
    """The state of the way to the hub, which is at `hub()` now. `changed` rings when the state, not merely the cause, is another.

    Without a hub the node stands alone: `by_choice` of its settings, or because it belongs to none.
    """

    def __init__(
        self, facts: Facts, clock: Clock, hub: Callable[[], str] | None, *, by_choice: bool = False
    ) -> None:
        self._facts = facts
        self._clock = clock
        self._hub = hub
        self.changed = Bell()
        self.refused = Bell()
        """Rings each time that the hub does not know this node or what it shows."""
        state: Literal["offline", "standalone"] = "offline" if hub else "standalone"
        alone = _BY_CHOICE if by_choice else _NO_HUB
        cause = _STARTING if hub else alone
        self.status = LinkStatus(state, clock.wall_ns(), self._address, cause)

    @property
    def connected(self) -> bool:
        """Whether the hub answers, with or without the live link."""
        return self.status.state in {"online", "polling"}

    @property
    def _address(self) -> str | None:
        return None if self._hub is None else self._hub()

    async def restore(self) -> None:
        """Takes up an outage that a former process of this node was in, or begins one."""
        since = await self._facts.fact(OFFLINE_SINCE)
        if self._hub and since:
            self.status = LinkStatus("offline", int(since), self._address, _STARTING)
        elif self._hub:
            await self._facts.set_fact(OFFLINE_SINCE, str(self.status.since))

    async def online(self) -> None:
        """The live link is open."""
        await self._become("online", "")

    async def polling(self, cause: str) -> None:
        """The hub answers, but there is no live link."""
        await self._become("polling", cause)

    async def offline(self, cause: str, *, unknown: bool = False) -> None:
        """The hub does not answer, or does not want this node; `unknown`: it does not know it."""
        if unknown:
            self.refused.ring()
        await self._become("offline", cause, unknown=unknown)

    async def _become(
        self, state: Literal["online", "polling", "offline"], cause: str, *, unknown: bool = False
    ) -> None:
        if state == self.status.state:
            self.status = LinkStatus(state, self.status.since, self._address, cause, unknown)
            return
        was_connected = self.connected
        self.status = LinkStatus(state, self._clock.wall_ns(), self._address, cause, unknown)
        self.changed.ring()
        if self.connected != was_connected:
            since = "" if self.connected else str(self.status.since)
            await self._facts.set_fact(OFFLINE_SINCE, since)
