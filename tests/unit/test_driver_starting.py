"""What people are told while a driver starts."""

from __future__ import annotations

import pytest

from skerry.kit.clock import NS
from skerry.node.drivers.starting import (
    Began,
    Came,
    Failed,
    Runs,
    Start,
    Word,
    again_after,
    looked,
)
from skerry.wire.workload import Exit, Generation, Phase, WorkloadStatus

ENDED = Exit(code=1)
Look = tuple[float, Phase | None, int]


def status(
    phase: Phase, restarts: int = 0, exit_: Exit | None = None, message: str = ""
) -> WorkloadStatus:
    return WorkloadStatus(
        workload="d", generation=Generation(0, 1), phase=phase, since=0, restarts=restarts, exit=exit_, message=message
    )  # fmt: skip


def told(*looks: Look, start: Start | None = None) -> list[Word]:
    """All words at looks (seconds, phase, restarts); who has restarted, or waits for that, has ended with 1."""
    words: list[Word] = []
    start = start or Start()
    for at, phase, restarts in looks:
        ended = ENDED if restarts or phase == "backoff" else None
        seen = None if phase is None else status(phase, restarts, ended)
        start, more = looked(start, seen, int(at * NS))
        words += more
    return words


UP: list[Word] = [Began(), Came("container_created"), Came("container_running")]


def test_a_start_that_succeeds_tells_each_step_once_and_its_end() -> None:
    looks: list[Look] = [
        (0, None, 0),
        (0, "pending", 0),
        (0, "starting", 0),
        (0.3, "running", 0),
        (0.9, "running", 0),
    ]
    assert told(*looks) == UP
    assert told(*looks, (5.3, "running", 0), (99, "running", 0)) == [*UP, Runs()]


def test_a_driver_that_runs_already_is_not_told_of() -> None:
    assert told((0, "running", 7), (5, "running", 7)) == []


def test_case_21_a_driver_that_ends_at_once_has_failed_to_start() -> None:
    looks: list[Look] = [(0, "starting", 0)]
    looks += [(n * 4, "backoff" if n % 2 else "starting", n // 2) for n in range(1, 14)]
    words = told(*looks)
    assert words[-1] == Failed("it ended: code 1")
    assert sum(isinstance(word, Failed) for word in words) == 1
    assert Runs() not in words


def test_case_21_so_has_one_that_the_engine_restarts() -> None:
    looks: list[Look] = [(n * 4.7, "running", n) for n in range(1, 11)]
    assert told((0, "starting", 0), *looks)[-1] == Failed("it ended: code 1")


@pytest.mark.parametrize("phase", ["running", "backoff"])
def test_case_23_four_quick_ends_and_then_a_steady_life_are_no_failure(phase: Phase) -> None:
    looks: list[Look] = [(0, "starting", 0), (0.1, "running", 0)]
    for n in range(1, 5):
        looks += [(n - 0.5, phase, n if phase == "running" else n - 1), (n, "running", n)]
    words = told(*looks, (8.9, "running", 4), (9.1, "running", 4))
    assert words == [*UP, Runs()]


def test_case_21_a_driver_that_is_stopped_because_it_flaps_before_it_was_ever_steady_has_failed() -> (
    None
):
    start, _ = looked(Start("starting"), status("running", 3, ENDED), NS)
    failed, words = looked(start, status("running", 5, ENDED), 2 * NS, held=True)
    assert words == [Failed("it ended: code 1")]
    assert looked(failed, status("stopped", 0, ENDED), 3 * NS, held=True)[1] == []
    assert looked(Start("running"), status("stopped"), 3 * NS, held=True) == (Start("down"), [])
    again, words = looked(failed, status("starting"), 600 * NS)
    assert words[0] == Began()
    _, words = looked(looked(again, status("running"), 601 * NS)[0], status("running"), 606 * NS)
    assert words == [Runs()]


def test_one_that_is_refused_has_failed_at_once_and_tells_so_once() -> None:
    start, words = looked(Start(), status("backoff", message="no such device"), 0)
    assert words == [Began(), Failed("no such device")]
    assert looked(start, status("backoff", message="no such device"), NS)[1] == []


def test_a_start_on_purpose_is_told_anew_and_a_restart_by_itself_is_not() -> None:
    running = Start("running")
    assert (
        told(
            (9, "backoff", 0),
            (9, "starting", 1),
            (9, "running", 1),
            (19, "running", 1),
            start=running,
        )
        == []
    )
    looks: list[Look] = [
        (9, "stopping", 1),
        (9, "stopped", 1),
        (9, "starting", 0),
        (9, "running", 0),
        (14, "running", 0),
    ]
    assert told(*looks, start=running) == [*UP, Runs()]
    assert told((9, "starting", 0), start=running)[0] == Began()


def test_one_that_had_failed_and_is_steady_later_is_told_of() -> None:
    failed = Start("failed", first=0, ended=3)
    assert told((20, "running", 4), (25, "running", 4), start=failed) == [Runs()]


def test_a_pull_is_told_and_so_is_that_the_image_cannot_be_had() -> None:
    pulling = status("pending", message="pulling image x: 1 MB of 2 MB, 0 of 1 layers")
    start, words = looked(Start(), pulling, 0)
    assert words == [Began(), Came("pull_started")]
    assert looked(start, pulling, NS)[1] == []
    assert looked(start, status("starting"), NS)[1] == [
        Came("pull_completed"),
        Came("container_created"),
    ]
    missing = status("pending", message="cannot start workload «d»: image x is not on this node")
    failed, words = looked(start, missing, NS)
    assert words == [Failed("cannot start workload «d»: image x is not on this node")]
    assert looked(failed, missing, 2 * NS)[1] == []
    assert looked(start, status("pending", message="looking for its image"), NS)[1] == []


def test_looks_are_due_only_until_it_is_steady() -> None:
    start, _ = looked(Start(), status("starting"), 0)
    assert again_after(start, 0) is None
    start, _ = looked(start, status("running"), 0)
    assert again_after(start, NS // 4) == 4.75
    start, _ = looked(start, status("running"), 5 * NS)
    assert again_after(start, 5 * NS) is None
