"""How a change goes through a fleet: never too many nodes at once, always to the end when nodes are well."""

from __future__ import annotations

from dataclasses import dataclass, replace

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from skerry.hub.fleet.waves import Member, Rollout, at_once, decide, resumed, stages_of, view
from skerry.kit.clock import NS
from skerry.wire.workload import (
    Generation,
    Phase,
    ProcessSpec,
    Update,
    WorkloadSpec,
    WorkloadStatus,
)

NOW = 1_760_000_000 * NS
OLD, NEW = Generation(1, 1), Generation(1, 100)
BEFORE = Rollout(WorkloadSpec(name="a", process=ProcessSpec(command=["x"])), 0)
ONE = Update(max_unavailable=1, min_healthy=10.0, healthy_within=60.0)


def status(generation: Generation, phase: Phase = "running", **fields: object) -> WorkloadStatus:
    fields = {"ready": phase == "running", **fields}
    return WorkloadStatus("a", generation, phase, 1, **fields)  # type: ignore[arg-type]


def old(name: str, phase: Phase = "running", **fields: object) -> Member:
    member = Member(
        name, name, False, OLD, NOW - 900 * NS, True, status(OLD, phase), NOW - 900 * NS
    )
    return replace(member, **fields)  # type: ignore[arg-type]


def new(
    name: str, phase: Phase | None = "running", *, age: float = 20.0, **fields: object
) -> Member:
    """A member that has the change; its status is `age` seconds old, None: not there yet."""
    said = status(OLD) if phase is None else status(NEW, phase)
    member = Member(name, name, True, NEW, NOW - 30 * NS, True, said, NOW - int(age * NS))
    return replace(member, **fields)  # type: ignore[arg-type]


def stages(*members: Member, rollout: Rollout = BEFORE, update: Update = ONE) -> list[str]:
    return list(stages_of(rollout, update, members, NOW).values())


@pytest.mark.parametrize(
    ("limit", "total", "count"),
    [
        (1, 40, 1),
        (3, 40, 3),
        ("25%", 40, 10),
        ("25%", 7, 1),
        ("1%", 3, 1),
        ("100%", 3, 3),
        (None, 5, 5),
    ],
)
def test_a_share_is_rounded_down_but_never_to_nothing(
    limit: int | str | None, total: int, count: int
) -> None:
    assert at_once(Update(max_unavailable=limit), total) == count


def test_a_node_proves_the_change_by_being_as_wanted_for_a_while() -> None:
    assert stages(new("n"), new("m", age=9.0), new("o", None), new("p", "pending")) == [
        "healthy", "settling", "settling", "settling",
    ]  # fmt: skip
    assert stages(new("n", status=status(NEW, ready=False))) == ["settling"]
    assert stages(new("n", "succeeded")) == ["healthy"]


def test_a_node_fails_by_its_phase_or_by_time() -> None:
    assert stages(new("n", "tripped"), new("m", "failed")) == ["failed", "failed"]
    late = NOW - 61 * NS
    assert (
        stages(new("n", "backoff", given_at=late), new("m", None, given_at=late)) == ["failed"] * 2
    )
    tripped_before = new("n", status=status(OLD, "tripped"))
    assert stages(tripped_before) == ["settling"]


def test_a_node_whose_workload_holds_the_change_up_has_time() -> None:
    late = NOW - 61 * NS
    held = status(OLD, locked_until=NOW + 5 * NS)
    assert stages(new("n", given_at=late, status=held)) == ["settling"]
    mad = status(OLD, locked_until=NOW + 10**9 * NS)
    short = replace_update(lock_at_most=1.0)
    assert stages(new("n", given_at=late, status=mad)) == ["settling"]
    assert stages(new("n", given_at=NOW - 62 * NS, status=mad), update=short) == ["failed"]


def test_who_was_healthy_may_have_an_accident() -> None:
    proven = msgspec.structs.replace(BEFORE, proven=["n"])
    long_ago = NOW - 900 * NS
    crashed = new("n", "backoff", given_at=long_ago, age=1.0)
    assert stages(crashed, rollout=proven) == ["settling"]
    assert stages(crashed) == ["failed"]
    assert stages(replace(crashed, heard_at=NOW - 61 * NS), rollout=proven) == ["failed"]
    assert stages(replace(crashed, online=False), rollout=proven) == ["healthy"]


def test_offline_nodes_are_skipped_and_hold_up_nobody() -> None:
    members = [old("away", online=False), old("n"), old("m")]
    wave = decide(BEFORE, ONE, members, NOW)
    assert (wave.change, wave.finished) == (("m",), False)
    there = [old("away", online=False), new("n"), new("m")]
    wave = decide(BEFORE, ONE, there, NOW)
    assert (wave.change, wave.finished, wave.rollout.paused) == ((), False, "")
    assert decide(BEFORE, ONE, [old("away"), *there[1:]], NOW).change == ("away",)
    shown = view(BEFORE, ONE, there, NOW)
    assert shown.message == "2 of 3 nodes have the change, 1 get it when they are back"
    assert (shown.state, shown.offline, shown.healthy) == ("rolling", 1, 2)


def test_a_node_that_got_the_change_and_vanished_counts_until_it_fails() -> None:
    gone = new("n", online=False)
    assert decide(BEFORE, ONE, [gone, old("m")], NOW).change == ()
    wave = decide(BEFORE, ONE, [replace(gone, given_at=NOW - 61 * NS), old("m")], NOW)
    assert wave.rollout.paused == (
        "1 of 2 nodes failed: n offline, and not known to be healthy within 1m"
    )


def test_a_failure_pauses_and_says_who_and_why() -> None:
    bad = new("node-7", status=status(NEW, "tripped", message="ended: code 1"))
    wave = decide(BEFORE, replace_update(max_unavailable=5), [bad, old("a"), old("b")], NOW)
    assert wave.change == ()
    assert wave.rollout.paused == "1 of 3 nodes failed: node-7 tripped: ended: code 1"
    well_again = [replace(bad, status=status(NEW)), old("a"), old("b")]
    assert decide(wave.rollout, ONE, well_again, NOW).rollout.paused == wave.rollout.paused
    many = decide(BEFORE, ONE, [new(f"n{n}", "failed") for n in range(5)], NOW)
    assert many.rollout.paused.endswith("n2 failed; and 2 more")


def test_a_person_lets_it_go_on_without_those_that_failed() -> None:
    members = [new("bad", "tripped"), old("a"), old("b")]
    paused = decide(BEFORE, ONE, members, NOW).rollout
    going = resumed(paused, ONE, members, NOW)
    wave = decide(going, ONE, members, NOW)
    assert (wave.change, wave.rollout.paused) == (("a",), "")
    done = [new("bad", "tripped"), new("a"), new("b")]
    assert decide(going, ONE, done, NOW).finished
    worse = [new("bad", "tripped"), new("a", "tripped"), old("b")]
    assert decide(going, ONE, worse, NOW).rollout.paused.startswith("1 of 3 nodes failed: a")


def test_without_a_pause_failures_use_up_the_limit() -> None:
    update = replace_update(max_unavailable=2, pause_on_failure=False)
    wave = decide(BEFORE, update, [new("x", "failed"), old("a"), old("b")], NOW)
    assert (wave.change, wave.rollout.paused) == (("a",), "")
    members = [new("x", "failed"), new("a", "failed"), old("b")]
    assert decide(BEFORE, update, members, NOW).change == ()
    assert decide(BEFORE, update, [new("x", "failed"), new("a"), new("b")], NOW).finished


def test_what_is_down_anyway_comes_first() -> None:
    members = [old("a"), old("b"), old("down", "tripped")]
    assert decide(BEFORE, ONE, members, NOW).change == ("down",)


def replace_update(**fields: object) -> Update:
    return msgspec.structs.replace(ONE, **fields)


@dataclass
class Device:
    """A node of the model: takes a change when it hears of it, then needs a while."""

    name: str
    bad: bool
    needs: int
    """Seconds until the new version works here."""
    online: bool = True
    given: int | None = None
    works_at: int = NOW
    heard: int = NOW - 900 * NS

    def give(self, now: int) -> None:
        self.given = now
        self.works_at = now + self.needs * NS
        self.heard = now

    def member(self, now: int) -> Member:
        if self.given is None:
            return old(self.name, online=self.online)
        if now < self.works_at:
            said = status(NEW, "starting")
        else:
            said = status(NEW, "tripped" if self.bad else "running")
            self.heard = max(self.heard, self.works_at)
        return Member(self.name, self.name, True, NEW, self.given, self.online, said, self.heard)

    def is_down_by_the_change(self, now: int) -> bool:
        return self.given is not None and (self.bad or now < self.works_at)


devices = st.lists(st.tuples(st.booleans(), st.integers(0, 50)), min_size=1, max_size=12)
limits = st.one_of(st.integers(1, 5), st.sampled_from(["10%", "25%", "50%", "100%"]))


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    devices=devices,
    limit=limits,
    pause=st.booleans(),
    cuts=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 11)), max_size=10),
)
def test_never_too_many_are_down_and_well_ones_all_get_it(
    devices: list[tuple[bool, int]], limit: int | str, pause: bool, cuts: list[tuple[int, int]]
) -> None:
    update = replace_update(max_unavailable=limit, pause_on_failure=pause)
    fleet = [Device(f"n{n:02}", bad, needs) for n, (bad, needs) in enumerate(devices)]
    rollout, finished = run(fleet, update, set(cuts))
    assert pause or not rollout.paused
    if not rollout.paused and not any(device.bad for device in fleet):
        assert finished
        assert all(device.given is not None for device in fleet)


def run(fleet: list[Device], update: Update, cuts: set[tuple[int, int]]) -> tuple[Rollout, bool]:
    """Twenty minutes; after 450 s all are online for good."""
    rollout = BEFORE
    for second in range(1200):
        now = NOW + second * NS
        for index, device in enumerate(fleet):
            device.online ^= (second, index) in cuts
            device.online |= second >= 450
        wave = decide(rollout, update, [device.member(now) for device in fleet], now)
        for device in fleet:
            if device.name in wave.change:
                assert device.online
                assert device.given is None
                device.give(now)
        down = sum(device.is_down_by_the_change(now) for device in fleet)
        assert down <= at_once(update, len(fleet))
        rollout = wave.rollout
        if wave.finished or rollout.paused:
            return rollout, wave.finished
    return rollout, False
