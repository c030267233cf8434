"""Restarts by an engine: what they make of a row, and how they are told from ends."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.workload_cases import BOOT, NOW, later, live, wish

from skerry.node.ports import EngineRestart, ProcessIdentity
from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads.runtimes.containers.answers import (
    Container,
    HostConfig,
    RestartPolicy,
    State,
)
from skerry.node.workloads.runtimes.containers.held import fate_of, starts_again
from skerry.node.workloads.transitions import (
    is_by_itself,
    restarted,
    restarts_more,
    status_of,
    stopping,
)
from skerry.wire.workload import Exit, Ready

OLD, NEW = ProcessIdentity(BOOT, 7, 70), ProcessIdentity(BOOT, 8, 80)
CRASH = Exit(code=3, at=NOW.wall)


def told(count: int, identity: ProcessIdentity | None = NEW) -> EngineRestart:
    return EngineRestart("i1", count, CRASH, identity)


def counted(row: ActualWorkload, restart: EngineRestart) -> ActualWorkload:
    return restarted(row, restart, later(5))


def test_the_instance_goes_on_as_another_process() -> None:
    after = counted(live(), told(1))
    assert after.instance is not None
    assert (after.instance.id, after.instance.identity, after.instance.restarts) == ("i1", NEW, 1)
    status = status_of(after, later(5))
    assert (status.phase, status.ready, status.restarts, status.pid) == ("running", True, 1, 8)
    assert (status.exit, status.since) == (CRASH, later(5).wall)


def test_until_it_runs_it_is_not_ready_and_says_why() -> None:
    down = counted(live(), told(1, None))
    assert (down.phase, down.ready, down.starts) == ("running", False, 2)
    assert down.probe == "ended: code 3; its engine starts it again"
    up = counted(down, told(1))
    assert (up.ready, up.probe, up.starts) == (True, "", 2)


def test_with_a_probe_it_has_to_prove_itself_again() -> None:
    assert counted(live(wish(ready=Ready(tcp=80))), told(1)).ready is False


def test_telling_it_twice_changes_nothing() -> None:
    once = counted(live(), told(2))
    assert counted(once, told(2)) is once
    assert counted(live(), told(0, OLD)) == live()


@pytest.mark.parametrize(
    ("stored", "now", "more"), [(0, 1, 1), (2, 7, 5), (3, 3, 0), (3, 0, 0), (3, 2, 2)]
)
def test_an_engine_that_was_started_anew_counts_anew(stored: int, now: int, more: int) -> None:
    row = live()
    assert row.instance is not None
    row = replace(row, instance=replace(row.instance, restarts=stored))
    assert row.instance is not None
    assert restarts_more(row.instance, told(now)) == more
    after = counted(row, told(now))
    assert after.instance is not None
    assert (after.starts, after.instance.restarts) == (1 + more, now)


def test_what_is_being_stopped_goes_on_being_stopped() -> None:
    going = stopping(live(), "removed", NOW)
    after = counted(going, told(1))
    assert (after.phase, after.message, after.starts) == ("stopping", going.message, 2)


def test_one_whose_start_is_not_confirmed_is_only_counted() -> None:
    after = counted(live(phase="starting", pid=None), told(2))
    assert after.instance is not None
    assert (after.phase, after.instance.identity, after.starts) == ("starting", None, 3)


def test_which_ends_nobody_asked_for() -> None:
    asked = stopping(live(), "removed", NOW)
    assert asked.instance is not None
    over = replace(asked, instance=replace(asked.instance, cause="memory"))
    assert [is_by_itself(row) for row in (live(), asked, over)] == [True, False, True]


def found(status: str, pid: int = 0, **fields: Any) -> Container:
    return Container("c", State(status, pid), **fields)


@pytest.mark.parametrize(
    ("answer", "now", "lives", "fate"),
    [
        (found("exited"), None, False, "ended"),
        (found("dead"), None, False, "ended"),
        (found("restarting"), None, False, "down"),
        (found("stopped"), None, False, "unknown"),  # Podman, before it starts it again
        (found("running", 7), None, False, "unknown"),  # the engine has not heard of the end
        (found("running", 7), OLD, True, "same"),  # a late word of an earlier end
        (found("running", 8), NEW, False, "again"),
        (found("running", 8), None, False, "unknown"),  # and ended once more
        (found("running", 7), ProcessIdentity(BOOT, 7, 99), False, "again"),  # the pid was reused
    ],
)
def test_what_has_become_of_one_that_ended(
    answer: Container, now: ProcessIdentity | None, lives: bool, fate: str
) -> None:
    assert fate_of(answer, OLD, now, lives=lives) == fate


def test_whose_engine_starts_it_again() -> None:
    def policy(name: str) -> bool:
        return starts_again(
            found("running", 7, host_config=HostConfig(restart_policy=RestartPolicy(name)))
        )

    assert [policy(name) for name in ("", "no", "on-failure", "always", "unless-stopped")] == [
        False, False, False, True, True,
    ]  # fmt: skip
