"""JSON of many small values takes thirty times its length in memory, and any driver may publish it: the agent reads none of it."""

from __future__ import annotations

import asyncio

import pytest
from tests.memory import memory
from tests.unit.test_twin_commanding import TOPIC, TWIN, order, site

from skerry.core.cyberwave.intake import Content, Rules, intake
from skerry.core.cyberwave.presence import presence_of
from skerry.testing.manual_clock import ManualClock

MANY = b"[" + b"{}," * 300_000 + b"{}]"
ALIVE = b'{"edge_id": "a", "timestamp": 1700000000.5, "source_type": "edge", "x": %b}' % MANY
HERE = f"cyberwave/twin/{TWIN}"
AT = 1_700_000_000_000_000_000

pytestmark = pytest.mark.guarantee("G4")


def test_no_sign_of_life_is_that_long() -> None:
    with memory() as most:
        assert presence_of(ALIVE) is None
        assert most() < 1_000_000
    assert presence_of(b'{"edge_id": "a"}') is not None


@pytest.mark.parametrize(
    ("payload", "offset", "meta"),
    [
        (ALIVE, 500_000_000, {"source_type": "edge"}),
        (b'{"timestamp": %b}' % MANY, 0, {}),
        (MANY, 0, {}),
        (b"{" + MANY, 0, {}),
        (b'{"a": NaN, "x": "%b"}' % bytes([120] * 70_000), 0, {}),
    ],
)
def test_of_what_becomes_a_file_only_time_and_source_are_read(
    payload: bytes, offset: int, meta: dict[str, str]
) -> None:
    with memory() as most:
        found = intake(f"{HERE}/telemetry", payload, AT, Rules())
        assert most() < 3 * len(payload)
    assert isinstance(found, Content)
    assert (found.at - AT, found.meta) == (offset, meta)


async def test_no_answer_to_a_command_is_that_long(manual_clock: ManualClock) -> None:
    _, commands = site(lambda: True, manual_clock)
    giving = asyncio.create_task(commands.give(order()))
    await asyncio.sleep(0)
    with memory() as most:
        commands.heard(TWIN, TOPIC, b'{"status": "done", "x": %b}' % MANY)
        assert most() < 5 * len(MANY)
    await asyncio.sleep(0)
    with memory() as most:
        answer = b'{"status": "accepted", "x": %b}' % MANY
        commands.heard(TWIN, f"{TOPIC}/skerry-o/response", answer)
        told = await giving
        assert most() < 5 * len(MANY)
    assert "bytes, which are too many to be read" in told.message
