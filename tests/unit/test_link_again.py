"""When a node says hello again after one that failed: who was out of reach is asked often, who refuses ever less often."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from skerry.kit.bell import Bell
from skerry.kit.errors import SkerryError, Transient
from skerry.kit.tasks import Tasks
from skerry.node.ports import NotKnown
from skerry.node.sync.link import UNREACHED, UNWANTED, Link
from skerry.node.sync.reachability import Reachability
from skerry.testing.manual_clock import ManualClock


class _Facts:
    async def fact(self, _name: str) -> str | None:
        return None

    async def set_fact(self, _name: str, _value: str, *, durable: bool = True) -> None:
        pass


class _Hub:
    """Fails as the list says."""

    def __init__(self, errors: list[SkerryError]) -> None:
        self._errors: Iterator[SkerryError] = iter(errors)

    async def greet(self, _tasks: Tasks) -> None:
        raise next(self._errors)

    async def part(self) -> None:
        pass

    async def keep(self) -> None:
        raise AssertionError("there is nothing to keep")


async def _waits(errors: list[SkerryError]) -> list[float]:
    """Seconds from each failure to the next try, at most; chance would shorten them."""
    clock, hub = ManualClock(), _Hub(errors)
    reachability = Reachability(_Facts(), clock, lambda: "https://hub")
    link = Link(hub, hub, reachability, clock, _Full(), Bell())
    waits = []
    for _ in errors:
        began = clock.monotonic_ns()
        once = asyncio.create_task(link.once())
        while not once.done():
            clock.advance(0.05)
            for _ in range(10):
                await asyncio.sleep(0)
        await once
        waits.append((clock.monotonic_ns() - began) / 1e9)
    return waits


class _Full(random.Random):
    def random(self) -> float:
        return 0.0


OUT, NO = Transient("cannot reach hub"), NotKnown("the certificate has ended")


async def test_the_first_refusal_after_a_long_outage_is_soon_asked_again() -> None:
    """A certificate that ended in the outage is renewed within a moment, and then the node is wanted."""
    waits = await _waits([*[OUT] * 12, NO])
    assert waits[-2] == pytest.approx(UNREACHED.cap, abs=0.2)
    assert waits[-1] == pytest.approx(UNWANTED.first, abs=0.2)


async def test_a_hub_that_goes_on_refusing_is_asked_ever_less_often() -> None:
    waits = await _waits([NO] * 8)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(UNWANTED.cap, abs=0.2)
