"""Where a device stands in its life: pure, from facts. Nobody stores a state that follows from something else.

    registered → authenticated → configured → deployed → active → draining → decommissioned

Only the last two are decisions of people; the others are what is known of the device, so whatever is killed on the way,
the next look says how far it has got.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from skerry.wire.devices import DeviceState
from skerry.wire.workload import Generation, Phase

Decision = Literal["", "draining", "decommissioned"]

AS_WANTED: frozenset[Phase] = frozenset({"running", "succeeded"})
"""Phases of a workload that does, or has done, what is wanted of it."""


class Told(msgspec.Struct, frozen=True):
    """What a node told last of one workload."""

    generation: Generation
    phase: Phase


class DeviceFacts(msgspec.Struct, frozen=True):
    """What is known of one device: what is wanted of it, by workload, and what it has told."""

    enrolled: bool
    described: bool
    """It has told about itself."""
    wanted: Mapping[str, Generation]
    told: Mapping[str, Told]
    decision: Decision = ""


def state_of(facts: DeviceFacts) -> DeviceState:
    """How far the device has got. One that nothing is wanted of has everything that is."""
    if facts.decision:
        return facts.decision
    if not facts.enrolled:
        return "registered"
    if not facts.described:
        return "authenticated"
    told = [(facts.told.get(name), generation) for name, generation in facts.wanted.items()]
    if any(one is None or one.generation < generation for one, generation in told):
        return "configured"
    if any(one is not None and one.phase not in AS_WANTED for one, _ in told):
        return "deployed"
    return "active"
