"""When changed scripts are taken up: a table, and what holds for any history of edits, crashes, reboots and clocks."""

from dataclasses import dataclass, field
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.workload_cases import BOOT, NOW, live, row, wish

from skerry.kit.clock import NS
from skerry.node.store.instances import ActualWorkload
from skerry.node.store.workers import Cause, PastRestart
from skerry.node.workloads import transitions
from skerry.node.workloads.steps import StopReason
from skerry.node.workloads.transitions import Moment
from skerry.node.workloads.workers.reload import (
    LIMIT,
    WINDOW,
    Change,
    Decision,
    Later,
    Reload,
    TakenUp,
    automatic_ages,
    changed_files,
    clears_in,
    decide,
)
from skerry.wire.workload import Assignment, Exit, LocalIntent, WorkerSpec

T = NOW.monotonic
DELAY = 10.0
EARLY, LATE = T - 5 * NS, T - 1 * NS
GROUP = wish(worker=WorkerSpec("/w"))


def ago(seconds: float, cause: Cause = "reload", boot: str = BOOT) -> PastRestart:
    back = int(seconds * NS)
    return PastRestart(NOW.wall - back, boot, T - back, cause, "")


def asked_for(reloads: int) -> Assignment:
    return msgspec.structs.replace(GROUP, local=LocalIntent(reloads))


def judged(
    *past: PastRestart, actual: ActualWorkload | None = None, asked: int = 0, moment: Moment = NOW
) -> Decision:
    actual = actual or live(GROUP, started=EARLY)
    return decide(Change(("a.py",), LATE), actual, asked, past, DELAY, moment)


def test_what_has_changed() -> None:
    old = {"a.py": "1", "b.py": "2", "c.py": "3"}
    assert changed_files(old, {"a.py": "1", "b.py": "x", "d.py": "4"}) == ("b.py", "c.py", "d.py")
    assert changed_files(old, dict(old)) == ()


@pytest.mark.parametrize(
    ("past", "expected"),
    [
        ([], Reload()),
        ([ago(9)], Later(T + NS, "delay")),
        ([ago(10)], Reload()),
        ([ago(4, "crash")], Later(T + 6 * NS, "delay")),
        ([ago(1, "manual")], Reload()),
        ([ago(20 * n) for n in range(1, 6)], Reload()),
        ([ago(20 * n) for n in range(1, 7)], Later(T + 180 * NS, "breaker")),
        ([ago(20 * n) for n in range(1, 8)], Later(T + 180 * NS, "breaker")),
        ([ago(20 * n, "crash") for n in range(1, 7)], Later(T + 180 * NS, "breaker")),
        ([ago(20 * n, "manual") for n in range(1, 7)], Reload()),
        ([*(ago(20 * n) for n in range(1, 6)), ago(300)], Reload()),
        ([*(ago(20 * n) for n in range(1, 6)), ago(299)], Later(T + NS, "breaker")),
        ([ago(2), *(ago(20 * n) for n in range(1, 5)), ago(299)], Later(T + 8 * NS, "delay")),
    ],
)
def test_limits(past: list[PastRestart], expected: Decision) -> None:
    assert judged(*past) == expected
    assert judged(*reversed(past)) == expected


@pytest.mark.parametrize(
    ("actual", "asked", "expected"),
    [
        (live(GROUP, started=EARLY), 0, Reload()),
        (live(GROUP, "starting", started=EARLY), 0, Reload()),
        (live(GROUP, started=LATE + 1), 0, TakenUp()),
        (live(GROUP, started=EARLY), 1, TakenUp()),
        (live(asked_for(1), started=EARLY), 1, Reload()),
        (live(GROUP, "stopping", started=EARLY, kill_at=T), 0, TakenUp()),
        (row(GROUP, "pending"), 0, TakenUp()),
        (row(GROUP, "stopped"), 0, TakenUp()),
        (row(GROUP, "backoff"), 0, Reload()),
        (row(GROUP, "tripped"), 0, Reload()),
        (row(GROUP, "failed"), 0, Reload()),
        (row(GROUP, "succeeded"), 0, Reload()),
    ],
)
def test_what_the_worker_has_or_will_read_anyway_restarts_nothing(
    actual: ActualWorkload, asked: int, expected: Decision
) -> None:
    assert judged(actual=actual, asked=asked) == expected


def test_a_workload_that_is_not_there_yet_reads_it_when_it_starts() -> None:
    assert decide(Change(("a.py",), LATE), None, 0, [], DELAY, NOW) == TakenUp()


@pytest.mark.parametrize("jump", [-400, -5, 5, 400, 10**9])
def test_setting_the_wall_clock_changes_nothing_within_a_boot(jump: int) -> None:
    moment = Moment(NOW.wall + jump * NS, NOW.monotonic, BOOT)
    assert judged(ago(4), moment=moment) == Later(T + 6 * NS, "delay")


@pytest.mark.parametrize(
    ("uptime", "wall", "expected"),
    [
        (3, 3, Later(10 * NS, "delay")),
        (3, 9, Later(4 * NS, "delay")),
        (3, 20, Reload()),
        (3, -1000, Later(10 * NS, "delay")),
        (11, -1000, Reload()),
    ],
)
def test_over_a_reboot_the_wall_clock_counts_and_what_this_boot_has_lasted(
    uptime: int, wall: int, expected: Decision
) -> None:
    moment = Moment(NOW.wall + wall * NS, uptime * NS, "boot-2")
    actual = live(GROUP, started=1)
    past = [PastRestart(NOW.wall, BOOT, T, "reload", "")]
    change = Change(("a.py",), 2)
    assert decide(change, actual, 0, past, DELAY, moment) == expected


@dataclass
class Device:
    """Time, edits, crashes and reboots; decides as the node does whenever something has happened or is due."""

    wall: int = NOW.wall
    monotonic: int = 1000 * NS
    boot: int = 0
    age: int = 0
    past: list[PastRestart] = field(default_factory=list)
    when: list[tuple[int, Cause]] = field(default_factory=list)
    has: int = 0
    runs: int = 0
    seen: int = 0
    started: int = 999 * NS

    def moment(self) -> Moment:
        return Moment(self.wall, self.monotonic, f"boot-{self.boot}")

    def restarted(self, cause: Cause) -> None:
        self.past.append(PastRestart(self.wall, f"boot-{self.boot}", self.monotonic, cause, ""))
        self.when.append((self.age, cause))
        self.started, self.runs = self.monotonic, self.has

    def edit(self) -> None:
        self.has += 1
        self.seen = self.monotonic

    def reboot(self) -> None:
        self.boot += 1
        self.monotonic = NS
        self.seen, self.started, self.runs = self.monotonic, self.monotonic + 1, self.has

    def look(self) -> int | None:
        """Acts on a change; returns when to look again."""
        if self.runs == self.has:
            return None
        change = Change(("a.py",), self.seen)
        actual = live(GROUP, started=self.started)
        decision = decide(change, actual, 0, self.past, DELAY, self.moment())
        match decision:
            case Later(until=until):
                assert self.monotonic < until <= self.monotonic + int(WINDOW * NS)
                return until
            case TakenUp():
                self.runs = self.has
            case Reload():
                self.restarted("reload")
        return None

    def pass_time(self, amount: int) -> None:
        end = self.monotonic + amount
        while (due := self.look()) is not None and due <= end:
            self._advance(due - self.monotonic)
        self._advance(end - self.monotonic)
        self.look()

    def _advance(self, amount: int) -> None:
        self.monotonic += amount
        self.wall += amount
        self.age += amount


happenings = st.one_of(
    st.just("edit"),
    st.just("crash"),
    st.just("manual"),
    st.just("reboot"),
    st.integers(1, 120 * NS),
    st.integers(-(10**6), 10**6).map(lambda seconds: ("wall", seconds)),
)


@given(st.lists(happenings, max_size=60))
def test_no_change_is_lost_and_no_limit_is_broken(
    history: list[str | int | tuple[str, int]],
) -> None:
    device = Device()
    rebooted = False
    for what in history:
        match what:
            case "edit":
                device.edit()
            case "crash":
                device.restarted("crash")
            case "manual":
                device.restarted("manual")
            case "reboot":
                device.reboot()
                rebooted = True
            case int():
                device.pass_time(what)
            case (_, int() as seconds):
                device.wall += seconds * NS
        device.pass_time(1)
        if not rebooted:
            _check_limits(device.when)
    device.pass_time(int(WINDOW * NS))
    assert device.runs == device.has


def _check_limits(when: list[tuple[int, Cause]]) -> None:
    """Each reload came long enough after the last automatic restart, and after few enough of them."""
    automatic = [at for at, cause in when if cause != "manual"]
    for at, cause in when:
        if cause == "reload":
            before = [other for other in automatic if other < at]
            assert not before or at - before[-1] >= DELAY * NS
            assert len([other for other in before if at - other < WINDOW * NS]) <= LIMIT


def test_the_window_clears_when_the_sixth_last_leaves_it() -> None:
    ages = automatic_ages([ago(n) for n in range(1, 8)], NOW)
    assert clears_in(ages) == int((WINDOW - 6) * NS)
    assert clears_in(ages[:LIMIT]) == 0


class TestNoted:
    """What the history gets besides the device's own orders."""

    def noted(self, old: ActualWorkload, new: ActualWorkload) -> tuple[str, str] | None:
        found = transitions.noted_restart(old, new, NOW)
        return None if found is None else (found.cause, found.detail)

    def test_a_restart_by_the_policy(self) -> None:
        old = live(GROUP)
        again = transitions.starting(transitions.ended(old, Exit(code=3), NOW, 0.0), "i2", NOW)
        assert self.noted(old, again) == ("crash", "ended: code 3")

    def test_a_start_that_is_repeated_because_it_was_never_made_is_none(self) -> None:
        old = transitions.not_made(live(GROUP, "starting", pid=None, exit=Exit(code=3)), NOW)
        assert self.noted(old, transitions.starting(old, "i2", NOW)) is None

    def test_a_start_is_none(self) -> None:
        old = row(GROUP)
        assert self.noted(old, transitions.starting(old, "i1", NOW)) is None

    def test_a_stop_for_a_change_is_a_restart_and_one_for_good_is_none(self) -> None:
        causes = {"changed": "its spec or models have changed", "held": "everything of this device's own is started anew"}  # fmt: skip
        for reason in get_args(StopReason):
            stopping = transitions.stopping(live(GROUP), reason, NOW)
            why = causes.get(reason)
            assert self.noted(live(GROUP), stopping) == (why and ("change", why))
            over = transitions.ended(stopping, Exit(code=0), NOW, 0.0)
            assert self.noted(stopping, over) is self.noted(stopping, stopping) is None

    def test_a_restart_that_the_hub_asked_for(self) -> None:
        old = live(GROUP)
        more = msgspec.structs.replace(GROUP, restarts=1)
        new = transitions.starting(transitions.renewed(row(GROUP), more, NOW), "i2", NOW)
        assert self.noted(old, new) == ("manual", "«skerry restart», asked of the hub")

    def test_other_workloads_have_no_history(self) -> None:
        old = live(wish())
        again = transitions.starting(transitions.ended(old, Exit(code=3), NOW, 0.0), "i2", NOW)
        assert self.noted(old, again) is None

    def test_a_restart_of_what_was_stopped_by_hand_is_none(self) -> None:
        more = msgspec.structs.replace(GROUP, restarts=1, local=LocalIntent(stopped=True))
        assert self.noted(row(GROUP), transitions.renewed(row(GROUP), more, NOW)) is None
