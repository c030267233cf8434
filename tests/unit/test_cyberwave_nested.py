"""JSON of many small values takes thirty times its length in memory, and any driver may publish it: the agent reads none of it."""

from __future__ import annotations

import pytest
from tests.memory import memory

from skerry.core.cyberwave.intake import Content, Rules, intake
from skerry.core.cyberwave.presence import presence_of

MANY = b"[" + b"{}," * 300_000 + b"{}]"
ALIVE = b'{"edge_id": "a", "timestamp": 1700000000.5, "source_type": "edge", "x": %b}' % MANY
HERE = "cyberwave/twin/6f1f0c1e-0000-4000-8000-000000000001"
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
