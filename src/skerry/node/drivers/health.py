"""Signs of life for every twin of this device until its first driver runs, which gives its own from then on."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from skerry.core.cyberwave import linking
from skerry.core.cyberwave.knobs import knobs_of
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Refused, Transient
from skerry.node.drivers.device import Device, Served
from skerry.node.twin_ports import Publish

AGAIN = 0.2
"""Seconds between two tries while the broker is not there."""

PATIENCE = 5.0
"""Seconds that the first driver of a boot waits for the first sign of life."""

log = logging.getLogger(__name__)


def edge_health(twin: Served, fingerprint: str, now: float, up: float) -> Mapping[str, object]:
    """The payload: a device that is there and has no stream yet. Wall clock and time since the agent's start in seconds."""
    config = linking.camera_config(linking.edge_config(twin.body, fingerprint))
    return {
        "type": "edge_health",
        "timestamp": now,
        "edge_id": fingerprint,
        "uptime_seconds": round(up, 3),
        "streams": {},
        "stream_count": 0,
        "healthy_streams": 0,
        "camera_config": dict(config),
        "source_type": "edge",
        "twin_uuid": twin.uuid,
    }


class BootstrapHealth:
    """`running` says which drivers run; `changes` ring when that, or the twins, may be others.

    `told` rings with the first sign of life, and when nobody is to wait for it any longer.
    """

    def __init__(
        self,
        publish: Publish,
        served: Callable[[], Sequence[Served]],
        device: Callable[[], Device],
        running: Callable[[], Collection[str]],
        changes: Bell,
        clock: Clock,
    ) -> None:
        self.told = Bell()
        self._publish = publish
        self._served = served
        self._device = device
        self._running = running
        self._changes = changes
        self._clock = clock
        self._began = clock.monotonic_ns()
        self._is_over = False
        self._heard = self._waived = False

    def holds(self) -> float:
        """Seconds that a first driver has to wait at most, so that the device is heard of before it; 0: it has not."""
        if self._heard or self._is_over:
            return 0.0
        return max(0.0, PATIENCE - (self._clock.monotonic_ns() - self._began) / NS)

    def again(self) -> None:
        """Everything starts anew: until a driver runs, the device speaks for itself."""
        self._is_over = False
        self._changes.ring()

    async def run(self) -> None:
        """Tells at the documented interval, for ever."""
        while True:
            seen = self._changes.count
            if self._running():
                self._end()
            if self._is_over or not self._served():
                await self._changes.after(seen)
                continue
            due = asyncio.ensure_future(self._clock.sleep(await self._tell()))
            try:
                while not due.done() and not self._running():
                    ring = asyncio.ensure_future(self._changes.after(seen))
                    await asyncio.wait([due, ring], return_when=asyncio.FIRST_COMPLETED)
                    ring.cancel()
                    seen = self._changes.count
            finally:
                due.cancel()

    async def _tell(self) -> float:
        """One sign of life for each twin; seconds until the next."""
        device, now = self._device(), self._clock.wall_ns() / NS
        up = (self._clock.monotonic_ns() - self._began) / NS
        try:
            for twin in self._served():
                payload = edge_health(twin, device.config.fingerprint, now, up)
                topic = f"{device.topic_prefix}cyberwave/twin/{twin.uuid}/edge_health"
                await self._publish.publish(topic, json.dumps(payload).encode(), 0)
        except Transient:
            if not (self._waived or self.holds()):
                self._waived = True
                self.told.ring()
            return AGAIN
        except Refused as error:
            log.warning("cannot tell that this device is there: %s", error)
        if not self._heard:
            self._heard = True
            self.told.ring()
        return knobs_of(device.config.variables).health_interval

    def _end(self) -> None:
        self._is_over = True
        if not self._heard:
            self._heard = True
            self.told.ring()
