"""Whether the drivers of this device's twins are there: a shared row for each twin, written when it changes and not before.

A driver says every 5 s that it is there; the row says since when it is, and when it has not been heard for a minute, since
when it is not. What the row says is only memory's word until it is written, which the next word of the driver makes good.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from skerry.core.cyberwave.names import is_uuid
from skerry.core.cyberwave.presence import STALE, Presence, presence_of
from skerry.core.merging.bodies import Body, decoded, encoded
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock, iso
from skerry.kit.errors import InvalidInput
from skerry.kit.tasks import Guard
from skerry.node.store.entity_rows import EntityRows
from skerry.node.twin_ports import Publish
from skerry.wire.entities import Change, Changes, Declare, Find
from skerry.wire.shared import Declaration

PRESENCE = Declaration(strategy="edge_wins", priority="medium")

_REST = 0.5
"""Seconds between two looks."""


class _Heard(msgspec.Struct, frozen=True):
    """What was said last, and when (monotonic, ns)."""

    presence: Presence
    at: int


def presence_entity(environment: str) -> str:
    """The entity of what an environment's drivers say. Raises InvalidInput for what is no UUID."""
    if not is_uuid(environment):
        raise InvalidInput(f"cannot use environment «{environment[:40]}»: that is no UUID")
    return f"presence_{environment.replace('-', '')}"


class PresenceRows:
    """Of the twins that this device serves (`serves`, by UUID). `open` comes first, `run` goes on for ever."""

    def __init__(
        self,
        entities: EntityRows,
        environment: str,
        serves: Callable[[str], bool],
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self.entity = presence_entity(environment)
        self._entities = entities
        self._serves = serves
        self._clock = clock
        self._chance = chance
        self._heard: dict[str, _Heard] = {}
        self._bell = Bell()

    async def open(self) -> None:
        """Shares the rows from now on; who was there before this start has a minute to say so again."""
        await self._entities.declare(self.entity, Declare(PRESENCE))
        asked: Find | None = Find()
        now = self._clock.monotonic_ns()
        while asked is not None:
            found = await self._entities.find(self.entity, asked)
            for row in found.rows:
                body = decoded(bytes(row.body))
                if body.get("online") and self._serves(row.id):
                    self._heard[row.id] = _Heard(_presence(body), now)
            asked = msgspec.structs.replace(asked, after=found.next) if found.next else None

    def health(self, twin: str, payload: bytes, at: int) -> None:
        """A driver's `edge_health`, captured `at` (wall, ns)."""
        said = presence_of(payload)
        age = max(self._clock.wall_ns() - at, 0)
        if said is None or age > STALE or not self._serves(twin):
            return
        before = self._heard.get(twin)
        self._heard[twin] = _Heard(said, self._clock.monotonic_ns() - age)
        if before is None or before.presence != said:
            self._bell.ring()

    async def run(self) -> None:
        """Writes what has changed."""
        seen = 0
        guard = Guard("telling which drivers are there", self._clock, self._chance)
        while True:
            await guard.run(self.settle)
            await self._clock.sleep(_REST)
            seen = await self._bell.within(seen, self._pause(), self._clock)

    async def settle(self) -> None:
        """Makes the rows what drivers have said last. Raises Transient."""
        now = self._clock.monotonic_ns()
        for twin, heard in self._heard.items():
            if heard.presence.online and now - heard.at > STALE:
                self._heard[twin] = _Heard(heard.presence.gone, heard.at)
        wanted = {twin: heard.presence for twin, heard in self._heard.items() if self._serves(twin)}
        if not wanted:
            return
        found = await self._entities.find(self.entity, Find(ids=sorted(wanted)))
        written = {row.id: _presence(decoded(bytes(row.body))) for row in found.rows}
        since = iso(self._clock.wall_ns())
        changes = [
            Change("put", twin, msgspec.Raw(encoded(presence.body(twin, since))))
            for twin, presence in wanted.items()
            if written.get(twin) != presence
        ]
        if changes:
            await self._entities.change(self.entity, Changes(changes))

    def _pause(self) -> float:
        """Seconds until somebody may be gone; the rows are looked at then in any case, because the hub may have refused one."""
        now = self._clock.monotonic_ns()
        online = [heard.at for heard in self._heard.values() if heard.presence.online]
        left = min((at + STALE - now for at in online), default=STALE)
        return max(left / NS, 0.0) + _REST


class HeardHealth:
    """A `twin_ports.Publish` for the device's own signs of life: they pass no gate, so they are heard here."""

    def __init__(self, publish: Publish, presence: PresenceRows, clock: Clock) -> None:
        self._publish = publish
        self._presence = presence
        self._clock = clock

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Of a topic `…/<twin>/edge_health`. Raises Transient, Refused."""
        self._presence.health(topic.split("/")[-2], payload, self._clock.wall_ns())
        await self._publish.publish(topic, payload, qos)


def _presence(body: Body) -> Presence:
    """What a row says."""
    streams = body.get("streams")
    named = {
        str(each.get("id")): {**each, "stream_config": {"kind": each.get("kind")}}
        for each in (streams if isinstance(streams, list) else [])
        if isinstance(each, dict)
    }
    found = presence_of(encoded({**body, "streams": {**named}}))
    if found is None or not body.get("online"):
        return (found or Presence()).gone
    return found
