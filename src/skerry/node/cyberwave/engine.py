"""What drivers and workers ask the container engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from skerry.kit.errors import Transient

AT_THE_START = 2.0
"""Seconds for an answer while the agent starts: nothing else on the device waits for an engine that hangs. About networks
always: no driver waits for those of others, and what was not told is asked again."""

T = TypeVar("T")


class Engine(Protocol):
    """As `runtimes.lazy_containers`."""

    async def gateway(self, network: str) -> str: ...

    async def has_gpus(self) -> bool: ...


class EngineQuestions:
    """Answers as the engine does, and Transient after so many seconds; about GPUs only until `patience` is none."""

    def __init__(self, engine: Engine, patience: float = AT_THE_START) -> None:
        self.patience: float | None = patience
        self._briefly = patience
        self._engine = engine

    async def gateway(self, network: str) -> str:
        """The address at which containers of a network reach this device. Raises Refused, Transient."""
        return await self._in_time(self._engine.gateway(network), self._briefly)

    async def has_gpus(self) -> bool:
        """Whether containers can have GPUs. Raises Transient."""
        return await self._in_time(self._engine.has_gpus(), self.patience)

    async def _in_time(self, answer: Awaitable[T], seconds: float | None) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise Transient(f"the container engine has not answered for {seconds:g} s") from None
