"""How a row changes, where the plan's and the attach's tables do not show it already."""

import pytest
from msgspec.structs import replace
from tests.workload_cases import NOW, later, live, row, wish

from skerry.kit.clock import NS
from skerry.node.store.instances import History
from skerry.node.workloads.transitions import (
    Moment,
    ended,
    killed,
    not_made,
    refused,
    status_of,
    stopping,
    waiting,
)
from skerry.wire.workload import Exit, Generation, Restart, WorkloadStatus

FAILURES = History(short_lives=4, failures=(NOW.monotonic,))


@pytest.mark.parametrize(
    ("seconds", "told_after", "is_forgotten"),
    [
        (5.0, 5.0, False),
        (61.0, 61.0, True),
        (600.0, 5.0, False),  # ended early while no agent was there
        (5.0, 1e9, False),  # the wall clock was set forward
        (61.0, -1e6, False),  # the wall clock was set back: counted as short, to be careful
    ],
)
def test_how_long_an_instance_lived(seconds: float, told_after: float, is_forgotten: bool) -> None:
    exit_ = Exit(code=1, at=NOW.wall + int(told_after * NS))
    after = ended(live(history=FAILURES), exit_, later(seconds), chance=0)
    assert (after.history.short_lives == 1) == is_forgotten


def test_an_asked_for_end_is_no_failure() -> None:
    asked = stopping(live(history=FAILURES), "restart", NOW)
    after = ended(asked, Exit(signal=15, at=NOW.wall), NOW, chance=0)
    assert (after.phase, after.history, after.due) == ("stopped", History(), None)
    assert after.message == "stopping: a restart was asked for"


def test_a_repeated_sigkill_is_counted_and_put_off() -> None:
    once = killed(stopping(live(), "removed", NOW), NOW)
    twice = killed(once, later(5))
    assert once.message.endswith("SIGKILL sent once")
    assert twice.message.endswith("SIGKILL sent 2 times")
    assert twice.instance
    assert twice.instance.kill_at == later(10).monotonic


def test_a_refused_launch_is_a_failure_without_an_exit() -> None:
    after = refused(live(phase="starting", pid=None), "cannot start: no such command", NOW, 0)
    assert (after.phase, after.exit, after.instance) == ("backoff", None, None)
    assert after.message == "cannot start: no such command"
    assert after.history.failures == (NOW.monotonic,)


def test_a_stop_on_purpose_begins_the_count_of_restarts_anew() -> None:
    asked = stopping(replace(live(), starts=8), "node-stop", NOW)
    after = ended(asked, Exit(code=0), NOW, 0)
    assert (after.phase, after.starts) == ("stopped", 0)


def test_an_instance_that_was_never_made_leaves_its_stop_stopped() -> None:
    asked = stopping(live(phase="starting", pid=None), "removed", NOW)
    assert not_made(asked, NOW).phase == "stopped"


def test_the_phase_has_the_time_at_which_it_began() -> None:
    before = row(phase="pending")
    assert waiting(before, "pending", "why", later(9)).since == NOW.wall
    assert waiting(before, "stopped", "why", later(9)).since == later(9).wall


def test_the_status() -> None:
    wanted = wish(n=3, restart=Restart())
    running = replace(live(wanted, exit=Exit(code=1, at=4), message="m"), starts=3)
    assert status_of(running, NOW) == WorkloadStatus(
        workload="a",
        generation=Generation(1, 3),
        phase="running",
        since=NOW.wall,
        ready=True,
        restarts=2,
        pid=7,
        exit=Exit(code=1, at=4),
        message="m",
    )


def test_the_next_start_is_told_in_wall_time_of_now() -> None:
    waits = row(phase="backoff", due=NOW.monotonic + 5 * NS)
    jumped = Moment(wall=77 * NS, monotonic=NOW.monotonic, boot_id=NOW.boot_id)
    assert status_of(waits, jumped).next_start_at == 82 * NS
    assert status_of(waits, later(5)).next_start_at is None
    assert status_of(row(), NOW).restarts == 0
