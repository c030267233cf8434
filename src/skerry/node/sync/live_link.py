"""The live link as long as the hub is reached: opened again whenever it ends, read, and its messages handed on.

`link` starts and cancels it. A link that ends asks for a hello: either the hub is gone, or only the WebSocket.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import Protocol

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused, SkerryError, Transient
from skerry.kit.tasks import supervised
from skerry.node.ports import LogSource
from skerry.node.sync.channels import Channels
from skerry.node.sync.reachability import Reachability
from skerry.wire.link import Data, Message, News

log = logging.getLogger(__name__)

REOPEN = Backoff(first=0.1, cap=5.0)
SETTLED = 10 * NS
"""A link that lasted so long ended by accident; a shorter one may be refused again and again."""


class LiveSocket(Protocol):
    """An open live link. `receive` raises Transient when it has ended, InvalidInput when the hub talks nonsense."""

    async def send(self, message: Message) -> None: ...

    async def receive(self) -> Message: ...

    async def close(self) -> None: ...


class LiveSource(Protocol):
    """Opens live links (`uplink.HttpUplink`); raises Transient or Refused when there is none to be had."""

    async def live(self) -> LiveSocket: ...


@dataclass(frozen=True)
class Bells:
    """`check`: say hello now. `news`: the hub has changes for this node."""

    check: Bell
    news: Bell


class LiveLink:
    """Keeps one WebSocket to the hub."""

    def __init__(
        self,
        source: LiveSource,
        logs: LogSource,
        reachability: Reachability,
        clock: Clock,
        chance: random.Random,
        bells: Bells,
    ) -> None:
        self._source = source
        self._logs = logs
        self._reachability = reachability
        self._clock = clock
        self._chance = chance
        self._bells = bells

    async def keep(self) -> None:
        """Opens the link again and again until cancelled."""
        failures = 0
        while True:
            opened = self._clock.monotonic_ns()
            try:
                socket = await self._source.live()
            except (Transient, Refused) as error:
                await self._reachability.polling(str(error))
            else:
                await self._reachability.online()
                # A hub that is put back cuts its links: only a hello that follows the opening rules that out.
                self._bells.check.ring()
                log.info("the live link ended: %s", await self._serve(socket))
                self._bells.check.ring()
            settled = self._clock.monotonic_ns() - opened > SETTLED
            failures = 0 if settled else failures + 1
            await self._clock.sleep(REOPEN.delay(failures, self._chance))

    async def _serve(self, socket: LiveSocket) -> SkerryError:
        """Reads until the link ends; returns why."""
        try:
            async with supervised() as tasks:
                channels = Channels(socket, self._logs, tasks, self._clock, self._chance)
                while True:
                    try:
                        message = await socket.receive()
                    except (Transient, InvalidInput) as error:
                        return error
                    if isinstance(message, News):
                        self._bells.news.ring()
                    elif not isinstance(message, Data):
                        channels.take(message)
        finally:
            await socket.close()
