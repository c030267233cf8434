"""What the unmodified SDK's workers are given on each backend of its data bus: the table of docs/reference/cyberwave-sdk.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cyberwave_bus import DataBus, hooks
from tests.cyberwave_sdk import Sdk

FRAMES = 5


@pytest.mark.parametrize(
    ("backend", "wildcards"), [("zenoh", FRAMES), ("filesystem", 0)], ids=["zenoh", "filesystem"]
)
def test_of_five_frames(tmp_path: Path, cyberwave_sdk: Sdk, backend: str, wildcards: int) -> None:
    """A hook without a sensor gets none on the filesystem: the SDK takes «**» for a directory's name there."""
    bus = DataBus(tmp_path, backend)
    with bus.workers() as log:

        def heard(n: int) -> bool:
            least = {"pinned": n, "joints": n, "wildcard": min(n, wildcards)}
            return all(len(hooks(log, hook)) >= count for hook, count in least.items())

        bus.film(FRAMES, heard)
        assert [each["n"] for each in hooks(log, "pinned")] == list(range(FRAMES))
        assert len(hooks(log, "joints")) == FRAMES
        assert len(hooks(log, "wildcard")) == wildcards
