"""Telling this device's containers of each change of an alert: the whole alert on its twin's topic, in order.

What cannot be published now waits for the broker, at most so much; the alert itself is in the store already.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from skerry.core.merging.bodies import Body, encoded
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import SkerryError, Transient
from skerry.node.twin_ports import Publish

MOST = 500
"""Notices that wait. The oldest go first: newer ones say how it is."""

_AGAIN_SECONDS = 0.5
_QOS = 1

log = logging.getLogger(__name__)


class AlertNotices:
    """`prefix` says what the device's topics begin with. `run` goes on for ever."""

    def __init__(self, publish: Publish, prefix: Callable[[], str], clock: Clock) -> None:
        self._publish = publish
        self._prefix = prefix
        self._clock = clock
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=MOST)
        self._bell = Bell()

    def tell(self, twin: str, alert: Body) -> None:
        """Says how this alert of the twin is now, as soon as that is possible."""
        self._waiting.append((f"{self._prefix()}cyberwave/twin/{twin}/alert", encoded(alert)))
        self._bell.ring()

    async def run(self) -> None:
        """Publishes what waits."""
        rung = 0
        while True:
            while self._waiting:
                await self._next()
            rung = await self._bell.after(rung)

    async def _next(self) -> None:
        notice = self._waiting[0]
        try:
            await self._publish.publish(*notice, _QOS)
        except Transient as error:
            log.debug("%s waits: %s", notice[0], error)
            await self._clock.sleep(_AGAIN_SECONDS)
            return
        except SkerryError as error:
            log.warning("cannot publish on %s, going on without: %s", notice[0], error)
        if self._waiting and self._waiting[0] is notice:  # else it was one too many meanwhile
            self._waiting.popleft()
