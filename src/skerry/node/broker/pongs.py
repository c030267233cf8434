"""Answers to the SDK's pings, by which programs find out that messages go through: each comes back from the node itself."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable

from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import SkerryError
from skerry.node.twin_ports import Publish

FRESH = 5 * NS
"""An older ping waits for no answer any more: it was captured while no agent was there."""

_MOST = 100

log = logging.getLogger(__name__)


class Pongs:
    """`prefix` says what the device's topics begin with. `run` goes on for ever."""

    def __init__(self, publish: Publish, prefix: Callable[[], str], clock: Clock) -> None:
        self._publish = publish
        self._prefix = prefix
        self._clock = clock
        self._waiting: deque[str] = deque(maxlen=_MOST)
        self._bell = Bell()

    def ping(self, twin: str, at: int) -> None:
        """A program has asked, `at` (wall, ns)."""
        if self._clock.wall_ns() - at < FRESH:
            self._waiting.append(twin)
            self._bell.ring()

    async def run(self) -> None:
        """Answers."""
        rung = 0
        while True:
            while self._waiting:
                await self._answer(self._waiting.popleft())
            rung = await self._bell.after(rung)

    async def _answer(self, twin: str) -> None:
        pong = {"type": "pong", "timestamp": self._clock.wall_ns() / NS, "resource_uuid": twin}
        topic = f"{self._prefix()}cyberwave/pong/{twin}/response"
        try:
            await self._publish.publish(topic, json.dumps(pong).encode(), 0)
        except SkerryError as error:
            log.debug("cannot answer a ping of twin %s: %s", twin, error)
