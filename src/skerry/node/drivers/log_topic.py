"""What drivers print, and how the pulls of their images go on, on one topic: `twin/<t>/driverlog`, as edge-core publishes it.

It is read from the drivers' logs, which have both in order. The broker's absence holds it up, and who prints more than is
published loses the oldest of it, here and not in the log.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from skerry.core.cyberwave.driver_logs import driver_log
from skerry.kit.bell import Rings
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Refused, Transient
from skerry.node.drivers.device import Device
from skerry.node.drivers.launches import recipe_of
from skerry.node.drivers.wanted import DriverWorkloads
from skerry.node.twin_ports import LogNews, Publish
from skerry.wire.workload import Assignment

EVERY = 0.5
"""Seconds between two looks at the logs."""

AT_ONCE = 100
"""Lines of one log in one look."""

log = logging.getLogger(__name__)


class Tails(Protocol):
    """What is new in logs (`node.log_tails`)."""

    async def fresh(self, workload: str) -> Sequence[LogNews]:
        """Some of the lines that were not given yet; none: nothing is new."""
        ...

    def keep_only(self, workloads: Collection[str]) -> None:
        """Nobody asks for others any more."""
        ...


class LogTopic:
    """`run` goes on for as long as the agent. `since` says from when on lines of a workload are a twin's; None: none are."""

    def __init__(
        self,
        tails: Tails,
        publish: Publish,
        device: Callable[[], Device],
        clock: Clock,
        since: Callable[[str, str], int | None],
    ) -> None:
        self._tails = tails
        self._publish = publish
        self._device = device
        self._clock = clock
        self._since = since
        self._waiting: dict[str, deque[LogNews]] = {}

    async def run(self, workloads: DriverWorkloads) -> None:
        """Publishes what is new."""
        rings = Rings([workloads.looked])
        while True:
            rings.note()
            wanted = workloads.wanted()
            try:
                await self.look(wanted)
            except Transient as error:
                log.debug("logs of drivers wait: %s", error)
            if wanted:
                await self._clock.sleep(EVERY)
            else:
                await rings.next(self._clock)

    async def look(self, wanted: Sequence[Assignment]) -> None:
        """Publishes some of what is new in the logs of these drivers. Raises Transient: what is left is published next time."""
        names = {one.workload for one in wanted}
        self._tails.keep_only(names)
        self._waiting = {name: each for name, each in self._waiting.items() if name in names}
        for assignment in wanted:
            waiting = self._waiting.setdefault(assignment.workload, deque())
            if not waiting:
                waiting.extend(await self._tails.fresh(assignment.workload))
            for _ in range(min(len(waiting), AT_ONCE)):
                await self._say(assignment, waiting[0])
                waiting.popleft()
            await asyncio.sleep(0)

    async def _say(self, assignment: Assignment, news: LogNews) -> None:
        twin, container = recipe_of(assignment).twin, assignment.spec.container
        since = self._since(assignment.workload, twin)
        if since is None or news.at < since:
            return
        image = "" if container is None else container.image
        payload = driver_log(news.text, assignment.workload, image, news.at / NS)
        topic = f"{self._device().topic_prefix}cyberwave/twin/{twin}/driverlog"
        try:
            await self._publish.publish(topic, json.dumps(payload).encode(), 0)
        except Refused as error:
            log.warning("cannot publish a line of %s: %s", assignment.workload, error)
