"""A new agent meets what is there: rows of the store, instances of the runtime."""

import random

import pytest
from msgspec.structs import replace
from tests.workload_cases import BOOT, NOW, live, row, wish

from skerry.kit.clock import NS
from skerry.node.ports import ProcessIdentity, RunningInstance
from skerry.node.store.instances import ActualWorkload, Ended, History
from skerry.node.workloads.attach import Attachment, after_reboot, attach, not_listed
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, Exit, Restart, Stop

IDENTITY = ProcessIdentity(BOOT, 7, 70)


def process(instance: str = "i1", workload: str = "a") -> RunningInstance:
    return RunningInstance(instance, workload, IDENTITY)


def met(
    actual: list[ActualWorkload],
    running: list[RunningInstance],
    exited: set[str] = frozenset(),  # type: ignore[assignment]
    *,
    started: tuple[Assignment, ...] = (),
) -> Attachment:
    rows = {one.name: one for one in actual}
    known = {one.workload: one for one in started}
    return attach(rows, running, exited, NOW, random.Random(1), started=known)


def only(result: Attachment) -> tuple[ActualWorkload, Ended | None]:
    (transition,) = result.transitions
    return transition.actual, transition.ended


def test_survivors_are_taken_over_without_a_write() -> None:
    assert met([live()], [process()]) == Attachment()


def test_a_start_whose_answer_was_lost_is_completed() -> None:
    actual, ended = only(met([live(phase="starting", pid=None)], [process()]))
    assert (actual.phase, ended) == ("running", None)
    assert actual.instance
    assert actual.instance.identity == IDENTITY


def test_a_stop_goes_on() -> None:
    stopping = live(phase="stopping", kill_at=NOW.monotonic + NS)
    assert met([stopping], [process()]) == Attachment()


def test_an_instance_from_another_place_is_stopped_with_its_grace_once() -> None:
    moved = replace(process(), moved=True)
    actual, ended = only(met([live()], [moved]))
    assert (actual.phase, ended) == ("stopping", None)
    assert "moved" in actual.message
    assert actual.instance
    assert actual.instance.kill_at == NOW.monotonic + 10 * NS
    assert met([actual], [moved]) == Attachment()


def test_an_exit_that_waits_is_left_to_the_workloads_own_loop() -> None:
    assert met([live()], [], {"i1"}) == Attachment()
    assert met([live()], [process()], {"i1"}) == Attachment()


def test_what_nobody_has_any_more_has_ended_in_an_unknown_way() -> None:
    actual, ended = only(met([live()], []))
    assert actual.phase == "backoff"
    assert actual.instance is None
    assert ended == Ended("i1", Exit(at=NOW.wall))


def test_what_was_never_made_is_no_failure() -> None:
    history = History(short_lives=3)
    actual, ended = only(met([live(phase="starting", pid=None, history=history)], []))
    assert (actual.phase, actual.instance, actual.history) == ("pending", None, history)
    assert ended
    assert ended.instance == "i1"


def test_a_job_that_is_lost_has_failed_under_never() -> None:
    actual, _ = only(met([live(wish(restart=Restart(policy="never")))], []))
    assert actual.phase == "failed"


@pytest.mark.parametrize("known", [[], [row(wish(stop=Stop(grace=3)), "backoff")]])
def test_a_stray_is_stopped_with_its_grace(known: list[ActualWorkload]) -> None:
    actual, ended = only(met(known, [process("other")]))
    grace = 3 if known else 10
    assert (actual.phase, ended) == ("stopping", None)
    assert actual.instance
    assert (actual.instance.id, actual.instance.identity) == ("other", IDENTITY)
    assert actual.instance.kill_at == NOW.monotonic + grace * NS


def test_a_second_instance_beside_a_live_one_is_killed() -> None:
    assert met([live()], [process(), process("double")]).doubles == ["double"]


def test_of_two_strays_one_is_stopped_and_one_killed() -> None:
    """One row has room for one live instance; a second would make every attach fail."""
    result = met([], [process("x"), process("y")])
    assert (len(result.transitions), result.doubles) == (1, ["y"])


def test_only_what_is_neither_listed_nor_ended_is_looked_for() -> None:
    rows = {
        name: live(wish(name), instance=f"i-{name}") for name in ("listed", "ended", "missing")
    } | {"idle": row(wish("idle"), "backoff")}
    found = not_listed(rows, [process("i-listed", "listed")], {"i-ended"})
    assert [one.name for one in found] == ["missing"]


NEXT_BOOT = Moment(NOW.wall + NS, 5 * NS, "boot-2")


@pytest.mark.guarantee("G2")
@pytest.mark.parametrize(
    "before",
    [
        live(),
        live(phase="starting", pid=None),
        live(phase="stopping", kill_at=1),
        live(wish(restart=Restart(policy="never"))),
        row(phase="backoff", due=NOW.monotonic + 300 * NS, history=History(short_lives=9)),
        row(phase="tripped", due=NOW.monotonic + 600 * NS, history=History(half_open=True)),
        row(phase="pending"),
    ],
)
def test_after_a_reboot_what_was_not_finished_starts_without_delay(before: ActualWorkload) -> None:
    (transition,) = after_reboot({"a": before}, NEXT_BOOT)
    actual = transition.actual
    assert (actual.phase, actual.boot_id, actual.due) == ("pending", "boot-2", None)
    assert (actual.instance, actual.history, actual.ready) == (None, History(), False)
    assert transition.ended == (Ended("i1", Exit(at=NEXT_BOOT.wall)) if before.instance else None)


@pytest.mark.parametrize("phase", ["succeeded", "failed", "stopped"])
def test_after_a_reboot_the_finished_stay_finished(phase: str) -> None:
    before = row(phase=phase, exit=Exit(code=0, at=5), message="m")
    (transition,) = after_reboot({"a": before}, NEXT_BOOT)
    actual = transition.actual
    assert (actual.phase, actual.exit, actual.message) == (phase, Exit(code=0, at=5), "m")
    assert actual.boot_id == "boot-2"


def test_within_one_boot_nothing_changes() -> None:
    assert after_reboot({"a": live()}, NOW) == []


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("known", [[], [row(wish(n=1), "backoff", due=5)]])
def test_an_instance_that_the_store_lost_goes_on_as_what_it_was_started_from(
    known: list[ActualWorkload],
) -> None:
    actual, ended = only(met(known, [process("other")], started=(wish(n=3),)))
    assert (actual.phase, actual.ready, actual.due, ended) == ("running", True, None, None)
    assert actual.assignment == wish(n=3)
    assert actual.instance
    assert (actual.instance.id, actual.instance.identity) == ("other", IDENTITY)
    assert actual.instance.kill_at is None


@pytest.mark.guarantee("G6")
def test_a_store_that_went_back_gives_its_old_instance_up_for_the_one_that_lives() -> None:
    result = met([live()], [process("newer")], started=(wish(n=2),))
    gone, adopted = result.transitions
    assert gone.ended == Ended("i1", Exit(at=NOW.wall))
    assert adopted.actual.instance
    assert (adopted.actual.phase, adopted.actual.instance.id) == ("running", "newer")
    assert result.doubles == []


def test_beside_an_instance_that_lives_none_is_adopted() -> None:
    late = replace(process("late"), identity=ProcessIdentity(BOOT, 9, 99))
    assert met([live()], [process(), late], started=(wish(),)).doubles == ["late"]
    both = met([], [late, process("early")], started=(wish(),))
    assert (only(replace(both, doubles=[]))[0].instance or live().instance).id == "early"  # type: ignore[union-attr]
    assert both.doubles == ["late"]
