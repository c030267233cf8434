"""Listening sockets that outlive the process that listens: the keeper holds them, and this agent for the next keeper.

Who connects while nobody serves waits, and nobody else can listen there. A process is given them by its launch
(`ProcessLaunch.sockets`).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from skerry.keeper import protocol
from skerry.keeper.protocol import Message
from skerry.kit.bell import Bell
from skerry.kit.errors import Transient
from skerry.node.workloads.runtimes.keeper_client import (
    ConnectionLost,
    KeeperClient,
    KeeperRefusal,
    open_socket,
)

log = logging.getLogger(__name__)


class HeldSockets:
    """Those of each name. `keeper` is the keeper's socket; a request to it gives up after `patience` seconds."""

    def __init__(self, keeper: Path, patience: float) -> None:
        self.names: Sequence[str] = ()
        """Whose the keeper held when this agent came to it."""
        self.found = Bell()
        """Rings when there are `names`."""
        self._keeper = keeper
        self._patience = patience
        self._held: dict[str, list[int]] = {}
        self._telling = asyncio.Lock()
        self._can_hold = True
        """Of the keeper: as far as is known, and one that is yet to come can."""
        self._said = False

    async def hold(self, name: str, descriptors: list[int]) -> None:
        """These from now on, which are no longer the caller's, and none of before; without any the port is everybody's.

        Where no keeper is, the next one hears of it before anything is started. Raises Transient: nothing is held for it.
        """
        async with self._telling:
            self._replace(name, descriptors)
            try:
                with suppress(ConnectionLost):
                    await self._tell(name)
                    return
                # One that has ended is none by now. Another one cannot take them.
                await self._tell(name)
            except Transient:
                # The keeper starts the next process without them, which has to have the port to itself then.
                self._replace(name, [])
                raise

    async def take_up(self, names: Sequence[str], *, can_hold: bool) -> None:
        """Tells a keeper to which this agent has just come, and which holds those of `names`. Raises Transient."""
        self.names = names
        self._can_hold = can_hold
        if names:
            self.found.ring()
        async with self._telling:
            for name in self._held:
                await self._tell(name)

    def close(self) -> None:
        """The keeper has them alone."""
        for name in self._held:
            self._replace(name, [])

    async def _tell(self, name: str) -> None:
        if not self._can_hold:
            self._give_up(name)
            return
        transmit = partial(protocol.transmit, descriptors=self._held[name])
        try:
            sock = open_socket(self._keeper)
        except (FileNotFoundError, ConnectionRefusedError):
            return  # there is none
        except OSError as error:
            raise Transient(f"cannot have the keeper hold ports: {error.strerror}") from error
        client = KeeperClient(sock, _ignore, _nothing, transmit)
        try:
            async with asyncio.timeout(self._patience):
                await client.ask("hold", [("sockets", name)])
        except KeeperRefusal as refusal:
            if refusal.word != "detached":  # else it hears of it as soon as it is ours
                raise Transient(f"cannot have the keeper hold ports: {refusal}") from refusal
        except TimeoutError as error:
            raise Transient("cannot have the keeper hold ports: it does not answer") from error
        finally:
            client.close()

    def _give_up(self, name: str) -> None:
        """Such a keeper gives them to nobody, so the next process has to have the port to itself."""
        self._replace(name, [])
        if not self._said:
            self._said = True
            log.warning(
                "the keeper of this node is of an older release: while %s restarts, others can take its port. "
                "Run once: skerry node stop --workloads",
                name,
            )

    def _replace(self, name: str, descriptors: list[int]) -> None:
        for fd in self._held.get(name, ()):
            os.close(fd)
        self._held[name] = descriptors


def _ignore(_event: Message) -> None:
    """A keeper tells such a connection nothing."""


def _nothing() -> None:
    """Who asks is told by ConnectionLost."""
