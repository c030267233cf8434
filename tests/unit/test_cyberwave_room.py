"""What cannot be served at the agent's start keeps the agent from nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.workload_cases import wish

from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.node.cyberwave.living import LeftRunning
from skerry.node.cyberwave.room import CyberwaveRoom
from skerry.node.cyberwave.wishes import Wishes
from skerry.node.drivers.launches import PREFIX
from skerry.node.ports import Launch
from skerry.wire.workload import Assignment

DRIVER = f"{PREFIX}6f1f0c1e"


def no_launch(assignment: Assignment, instance: str) -> Launch:
    """Nothing is started here."""
    raise NotImplementedError(assignment, instance)


class Nothing(LeftRunning):
    """A broker that nobody wants."""

    def __init__(self) -> None:
        super().__init__(dict, no_launch)


class Room(CyberwaveRoom):
    """One that fails as a whole, or with its environment."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self._left = LeftRunning(self.running, no_launch)
        self.wishes = Wishes(Nothing())

    def running(self) -> Mapping[str, Assignment]:
        return {DRIVER: wish(DRIVER)}

    async def _open(self) -> None:
        raise self.error

    _open_environment = _open

    async def environment_tried(self) -> None:
        await self._try_environment()


ERRORS = [OverflowError("inf"), TypeError("None"), RecursionError(), InvalidInput("a row"), OSError(28, "full"), Transient("busy")]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS)
async def test_the_agent_starts_whatever_fails_and_what_runs_goes_on(error: Exception) -> None:
    room = Room(error)
    await room.open()
    assert [one.workload for one in room.wishes.wanted()] == [DRIVER]


@pytest.mark.parametrize("error", [*ERRORS, Refused("a row")])
async def test_twins_that_cannot_be_served_end_nothing(error: Exception) -> None:
    room = Room(error)
    await room.environment_tried()
    assert [one.workload for one in room.wishes.wanted()] == [DRIVER]


async def test_what_the_devices_own_settings_rule_out_is_told_at_once() -> None:
    with pytest.raises(Refused):
        await Room(Refused("the disk is in clear")).open()
