"""Whose lines stand in a log when a container's name goes to another twin."""

from __future__ import annotations

import os
from pathlib import Path

from tests.driver_rig import ARM, TWIN_OF_ARM, Rig, twin

from skerry.kit.clock import NS
from skerry.kit.disk import RealDisk
from skerry.node.drivers.log_owners import LogOwners

NAME = f"cyberwave-driver-{ARM[:8]}"


async def test_a_twin_that_has_anothers_name_has_only_the_lines_since_it_was_started(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, twin())
    assert rig.owners.since(NAME, ARM) is None
    before = await rig.look()
    first = rig.owners.since(NAME, ARM)
    assert first == rig.clock.wall_ns(), "the pull of its image is told before its launch"
    rig.clock.advance(60)
    await rig.launch("i2")
    assert rig.owners.since(NAME, ARM) == first
    log = tmp_path / "data" / "logs" / NAME / "current.log"
    log.write_text("of the former\n")
    ahead = rig.clock.wall_ns() + 3600 * NS
    os.utime(log, ns=(ahead, ahead))  # the clock was set back since
    after = Rig(tmp_path, twin(TWIN_OF_ARM))
    after.started = before  # and may still write
    (assignment,) = (await after.look()).values()
    assert after.owners.since(NAME, TWIN_OF_ARM) is None
    assert after.workloads.launch_for(assignment, "i3") is not None
    assert after.owners.since(NAME, ARM) is None
    since = after.owners.since(NAME, TWIN_OF_ARM)
    assert since == ahead + 1
    again = LogOwners(lambda _: log, after.clock, RealDisk())
    assert again.since(NAME, TWIN_OF_ARM) == since
