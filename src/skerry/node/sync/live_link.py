"""The live link as long as the hub is reached: opened again whenever it ends, read, and its messages handed on.

`link` starts and cancels it. A link that ends asks for a hello: either the hub is gone, or only the WebSocket.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Protocol

import msgspec

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused, SkerryError, Transient
from skerry.kit.tasks import Tasks, supervised
from skerry.node.ports import LogSource
from skerry.node.sync.reachability import Reachability
from skerry.wire.link import Data, Message, News, Opened

if TYPE_CHECKING:
    from skerry.node.sync.channels import Channels, Services

log = logging.getLogger(__name__)

REOPEN = Backoff(first=0.1, cap=5.0)
SETTLED = 10 * NS
"""A link that lasted so long ended by accident; a shorter one may be refused again and again."""

EVICTED = Backoff(first=1.0, cap=60.0)
"""After another agent with our identity took the link: each of the two gives it to the other for ever longer times."""
UNDISTURBED = 300 * NS
"""A link that lasted so long has no rival any more: it outlived several of its tries."""


class Evicted(Transient):
    """Another agent with this node's identity has opened a live link, so the hub closed ours."""


class LiveSocket(Protocol):
    """An open live link. `receive` raises Transient when it has ended, InvalidInput when the hub talks nonsense.

    It raises Evicted when the hub says that another agent has taken the link.
    """

    async def send(self, message: Message) -> None: ...

    async def receive(self) -> Message: ...

    async def close(self) -> None: ...


class LiveSource(Protocol):
    """Opens live links (`uplink.HttpUplink`) for the agent process `run`.

    Raises Transient or Refused when there is none to be had.
    """

    async def live(self, run: str) -> LiveSocket: ...


class Bells(msgspec.Struct, frozen=True):
    """`check`: say hello now. `news`: the hub has changes for this node; `rows`: some of shared rows."""

    check: Bell
    news: Bell
    rows: Bell


class LiveLink:
    """Keeps one WebSocket to the hub. `run` is the random id of this agent process, `services` what it does besides logs."""

    def __init__(  # noqa: PLR0913 - everything that a link serves
        self,
        source: LiveSource,
        logs: LogSource,
        reachability: Reachability,
        clock: Clock,
        chance: random.Random,
        bells: Bells,
        *,
        run: str,
        services: Services,
    ) -> None:
        self._source = source
        self._services = services
        self._run = run
        self._logs = logs
        self._reachability = reachability
        self._clock = clock
        self._chance = chance
        self._bells = bells

    async def keep(self) -> None:
        """Opens the link again and again until cancelled."""
        failures = evictions = 0
        while True:
            opened = self._clock.monotonic_ns()
            ended = await self._open_and_serve()
            lasted = self._clock.monotonic_ns() - opened
            failures = 0 if lasted > SETTLED else failures + 1
            evictions = 0 if lasted > UNDISTURBED else evictions
            delay = REOPEN.delay(failures, self._chance)
            if isinstance(ended, Evicted):
                evictions += 1
                delay = EVICTED.delay(evictions, self._chance)
                await self._reachability.polling(str(ended))
            await self._clock.sleep(delay)

    async def _open_and_serve(self) -> SkerryError:
        """One link from its opening to its end; returns why it ended, or why there was none."""
        try:
            socket = await self._source.live(self._run)
        except (Transient, Refused) as error:
            await self._reachability.polling(str(error))
            return error
        try:
            await self._reachability.online()
            # A hub that is put back cuts its links: only a hello that follows the opening rules that out.
            self._bells.check.ring()
            ended = await self._serve(socket)
        finally:
            await socket.close()
        log.info("the live link ended: %s", ended)
        self._bells.check.ring()
        return ended

    async def _serve(self, socket: LiveSocket) -> SkerryError:
        """Reads until the link ends; returns why."""
        async with supervised() as tasks:
            channels: Channels | None = None
            while True:
                try:
                    message = await socket.receive()
                except (Transient, InvalidInput) as error:
                    return error
                if isinstance(message, News):
                    if not message.rows:
                        self._bells.news.ring()
                    self._bells.rows.ring()
                elif not isinstance(message, Data | Opened):
                    if channels is None:
                        channels = self._channels(socket, tasks)
                    channels.take(message)

    def _channels(self, socket: LiveSocket, tasks: Tasks) -> Channels:
        from skerry.node.sync.channels import Channels  # noqa: PLC0415 - most logs are never read

        return Channels(
            socket, self._logs, tasks, self._clock, self._chance, services=self._services
        )
