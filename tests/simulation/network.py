"""The way between nodes and hub in memory: it drops, delays, repeats, reorders, cuts and lies, as the seed decides.

Requests and answers travel as the bytes of the real messages. What TCP and TLS rule out is left out: a message arrives
whole or not at all, or it is something else altogether (a portal's page, another request's answer).
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from skerry.kit.errors import InvalidInput, Refused, SkerryError, Transient

T = TypeVar("T")
Serve = Callable[[bytes], Awaitable[bytes]]
"""What the hub does with a request: answers, or raises what its HTTP status would say."""

NO_ANSWER = 5.0
"""Seconds that a node waits for an answer."""

KINDS = (
    "request lost", "answer lost", "answer lost at once", "repeated", "late", "slow", "slow answer", "garbled request",
    "garbled answer", "other answer", "unavailable", "refused",
)  # fmt: skip
"""What may happen to a call besides nothing."""

_PAGE = b"<html><body>Welcome! Please log in to use this network.</body></html>"


class Weather(msgspec.Struct):
    """How bad the network is: the share of calls that meet each kind, and who is cut off."""

    rates: dict[str, float] = {}
    apart: set[str] = set()
    latency: float = 0.05

    def clear_up(self) -> None:
        """A perfect network from now on."""
        self.rates.clear()
        self.apart.clear()


class Network:
    """`seen` counts calls and what they met."""

    def __init__(self, chance: random.Random, weather: Weather, seen: Counter[str]) -> None:
        self._chance = chance
        self.weather = weather
        self._seen = seen
        self._before: dict[tuple[str, str], bytes] = {}
        self._late: set[asyncio.Task[None]] = set()
        self.trace = hashlib.sha256()

    async def call(self, name: str, what: str, body: bytes, serve: Serve) -> bytes:
        """The hub's answer to node `name`. Raises as `node.ports.Uplink`."""
        self._seen["calls"] += 1
        self.trace.update(f"{asyncio.get_running_loop().time()} {name} {what} ".encode() + body)
        if name in self.weather.apart:
            await self._travel()
            raise Transient("cannot reach hub: no route to host")
        kind = self._kind()
        if kind:
            self._seen[f"network: {kind}"] += 1
        await self._travel()
        return await self._meet(kind, name, what, body, serve)

    async def _meet(self, kind: str, name: str, what: str, body: bytes, serve: Serve) -> bytes:
        if kind in {"request lost", "late", "answer lost at once", "unavailable", "refused"}:
            await self._fail(kind, body, serve)
        match kind:
            case "garbled request":
                body = body[: self._chance.randrange(len(body))]
            case "repeated":
                self._later(self._chance.uniform(0.0, 1.0), serve, body)
            case "slow":
                await asyncio.sleep(self._chance.uniform(1.0, NO_ANSWER))
        answer = await serve(body)
        await self._travel()
        if kind == "answer lost":
            await asyncio.sleep(NO_ANSWER)
            raise Transient("cannot reach hub: no answer for 5 s")
        if kind == "slow answer":
            await asyncio.sleep(self._chance.uniform(1.0, NO_ANSWER))
        before = self._before.get((name, what), answer)
        self._before[name, what] = answer
        if kind == "garbled answer":
            return self._chance.choice((_PAGE, b"", answer[: self._chance.randrange(len(answer))]))
        return before if kind == "other answer" else answer

    async def _fail(self, kind: str, body: bytes, serve: Serve) -> None:
        """The node gets no answer of the hub's; its request may arrive all the same, and late."""
        match kind:
            case "late":
                self._later(self._chance.uniform(0.0, 90.0), serve, body)
            case "answer lost at once":
                self._later(0.0, serve, body)
                await self._travel()
                raise Transient("cannot reach hub: connection reset")
            case "unavailable":
                raise Transient("cannot reach hub: it answered 503")
            case "refused":
                raise Refused("cannot do that: the hub answered 413")
        await asyncio.sleep(NO_ANSWER)
        raise Transient("cannot reach hub: no answer for 5 s")

    async def link(self, name: str, open_it: Callable[[], Awaitable[T]]) -> T:
        """Opens a live link of node `name`."""
        await self._travel()
        if name in self.weather.apart or self._chance.random() < sum(self.weather.rates.values()):
            raise Transient("cannot reach hub: no route to host")
        return await open_it()

    def _kind(self) -> str:
        toss = self._chance.random()
        for kind, rate in self.weather.rates.items():
            toss -= rate
            if toss < 0:
                return kind
        return ""

    def _later(self, seconds: float, serve: Serve, body: bytes) -> None:
        """The request arrives, and nobody hears the answer."""

        async def arrive() -> None:
            await asyncio.sleep(seconds)
            try:
                await serve(body)
            except SkerryError:
                self._seen["network: nobody heard a refusal"] += 1

        self._late.add(task := asyncio.get_running_loop().create_task(arrive()))
        task.add_done_callback(self._late.discard)

    async def _travel(self) -> None:
        await asyncio.sleep(self._chance.expovariate(1.0 / self.weather.latency))


def as_answer(error: SkerryError) -> SkerryError:
    """What a node makes of the hub's error, as `uplink` reads its status."""
    if isinstance(error, InvalidInput | Refused):
        return error
    return Transient(f"cannot reach hub: it answered 503: {error}")
