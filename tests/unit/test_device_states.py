"""Where a device stands follows from what is known of it."""

from __future__ import annotations

import pytest

from skerry.core.device_states import Decision, DeviceFacts, Told, state_of
from skerry.wire.devices import DeviceState
from skerry.wire.workload import Generation, Phase


def facts(
    *,
    enrolled: bool = True,
    described: bool = True,
    phase: Phase | None = "running",
    generation: int = 1,
    decision: Decision = "",
) -> DeviceFacts:
    told = {} if phase is None else {"cam": Told(Generation(1, generation), phase)}
    return DeviceFacts(enrolled, described, {"cam": Generation(1, 2)}, told, decision)


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (facts(enrolled=False, described=False, phase=None), "registered"),
        (facts(described=False, phase=None), "authenticated"),
        (facts(phase=None), "configured"),
        (facts(generation=1), "configured"),
        (facts(generation=2, phase="starting"), "deployed"),
        (facts(generation=2, phase="failed"), "deployed"),
        (facts(generation=2), "active"),
        (facts(generation=3, phase="succeeded"), "active"),
        (facts(generation=2, decision="draining"), "draining"),
        (facts(enrolled=False, phase=None, decision="decommissioned"), "decommissioned"),
    ],
)
def test_each_fact_takes_a_device_one_step_further(known: DeviceFacts, state: DeviceState) -> None:
    assert state_of(known) == state


def test_a_device_that_nothing_is_wanted_of_has_everything() -> None:
    assert state_of(DeviceFacts(True, True, {}, {})) == "active"
