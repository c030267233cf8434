"""Random wishes, exits, reboots, crashes and outages: there are never two instances of one workload, and when
things calm down every workload is as it is wanted."""

import contextlib
import random
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.workload_cases import wish

from skerry.kit.clock import NS
from skerry.kit.errors import Refused
from skerry.node.ports import ProcessIdentity, RunningInstance
from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads import transitions
from skerry.node.workloads.attach import after_reboot, attach
from skerry.node.workloads.changes import hold, in_force
from skerry.node.workloads.dependencies import unmet
from skerry.node.workloads.locks import LockOrder, ordered
from skerry.node.workloads.plan import Facts, step_for
from skerry.node.workloads.steps import (
    AbandonInstance,
    KillWorkload,
    Remove,
    StartWorkload,
    StopWorkload,
    Wait,
)
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, Exit, OnDisconnect, Restart

NAMES = ["a", "b", "c"]
names = st.sampled_from(NAMES)


@dataclass(frozen=True)
class Process:
    workload: str
    command: str
    identity: ProcessIdentity


class Node(RuleBasedStateMachine):
    """A node whose executor is this class and whose runtime is a dict."""

    @initialize()
    def begin(self) -> None:
        self.desired: dict[str, Assignment] = {}
        self.rows: dict[str, ActualWorkload] = {}
        self.processes: dict[str, Process] = {}
        self.exits: dict[str, Exit] = {}
        self.now = 1000 * NS
        self.boots = 1
        self.count = 0
        self.offline_since: int | None = None
        self.stop_all = False
        self.stubborn: set[str] = set()
        self.chance = random.Random(1)

    @property
    def moment(self) -> Moment:
        return Moment(self.now + 10**18, self.now, f"boot-{self.boots}")

    # What people, programs and the world do.

    @rule(
        name=names,
        command=st.sampled_from("xyz"),
        policy=st.sampled_from(["never", "on-failure", "always"]),
        depends_on=st.dictionaries(names, st.sampled_from(["running", "ready"]), max_size=2),
        cautious=st.booleans(),
    )
    def apply(
        self, name: str, command: str, policy: str, depends_on: dict[str, str], cautious: bool
    ) -> None:
        self.count += 1
        self.desired[name] = wish(
            name,
            self.count,
            command=command,
            restarts=self.desired[name].restarts if name in self.desired else 0,
            restart=Restart(policy=policy, attempts=3),  # type: ignore[arg-type]
            depends_on={other: how for other, how in depends_on.items() if other < name},
            on_disconnect=OnDisconnect(stop_after=30.0 if cautious else None),
        )

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.desired.pop(name, None)

    @rule(name=names)
    def ask_for_restart(self, name: str) -> None:
        if name in self.desired:
            old = self.desired[name]
            self.desired[name] = Assignment(name, old.generation, old.spec, old.restarts + 1)

    @rule(code=st.sampled_from([0, 1]), index=st.integers(0, 2))
    def end_by_itself(self, code: int, index: int) -> None:
        if self.processes:
            instance = sorted(self.processes)[index % len(self.processes)]
            self.end(instance, Exit(code=code, at=self.moment.wall))

    @rule(seconds=st.sampled_from([0.1, 1, 15, 120]))
    def pass_time(self, seconds: float) -> None:
        self.now += int(seconds * NS)

    @rule(name=names, seconds=st.none() | st.sampled_from([1.0, 60.0, 10_000.0]))
    def lock_or_release(self, name: str, seconds: float | None) -> None:
        if name in self.rows:
            with contextlib.suppress(Refused):
                order = LockOrder(seconds)
                self.rows[name] = ordered(self.rows[name], order, self.moment)

    @rule()
    def cut_or_restore_link(self) -> None:
        self.offline_since = None if self.offline_since is not None else self.now

    @rule()
    def ask_to_stop_all_or_take_it_back(self) -> None:
        self.stop_all = not self.stop_all

    @rule(name=names)
    def make_stubborn(self, name: str) -> None:
        self.stubborn ^= {name}

    @rule()
    def reboot(self) -> None:
        self.processes.clear()
        self.exits.clear()
        self.boots += 1
        self.now = 5 * NS
        self.offline_since = None
        for transition in after_reboot(self.rows, self.moment):
            self.rows[transition.actual.name] = transition.actual

    # What the agent does, step by step, and how it dies.

    @rule(name=names)
    def work(self, name: str) -> None:
        self.step(name)

    @rule(name=names, made=st.booleans())
    def die_while_starting(self, name: str, made: bool) -> None:
        self.step(name, dies="after the process was made" if made else "before it was made")

    @rule(name=names)
    @precondition(lambda self: self.processes)
    def die_and_lose_the_store(self, name: str) -> None:
        """An old copy of the store is put back: it does not know what runs."""
        if name in self.rows and self.rows[name].instance:
            del self.rows[name]
            self.attach()

    def attach(self) -> None:
        running = [
            RunningInstance(instance, process.workload, process.identity)
            for instance, process in self.processes.items()
        ]
        found = attach(self.rows, running, self.exits.keys(), self.moment, self.chance)
        for transition in found.transitions:
            self.rows[transition.actual.name] = transition.actual
        for double in found.doubles:
            self.end(double, Exit(signal=9, at=self.moment.wall))

    def end(self, instance: str, exit_: Exit) -> None:
        if self.processes.pop(instance, None) is not None:
            self.exits[instance] = exit_

    def step(self, name: str, dies: str = "") -> bool:
        """One pass of the workload's loop. False: it only waits."""
        held = self.as_it_is(name)
        if held is None:
            return False
        offline = None if self.offline_since is None else (self.now - self.offline_since) / NS
        facts = Facts(self.moment, offline, self.stop_all)
        step = step_for(held, self.desired, {**self.rows, name: held}, facts)
        match step:
            case StartWorkload():
                self.start(held, dies)
            case StopWorkload(reason=reason):
                self.rows[name] = transitions.stopping(held, reason, self.moment)
                if name not in self.stubborn and held.instance:
                    self.end(held.instance.id, Exit(signal=15, at=self.moment.wall))
            case KillWorkload():
                self.rows[name] = transitions.killed(held, self.moment)
                if held.instance:
                    self.end(held.instance.id, Exit(signal=9, at=self.moment.wall))
            case AbandonInstance():
                self.rows[name] = transitions.not_made(held, self.moment)
            case Remove():
                del self.rows[name]
            case Wait(phase=phase, reason=reason):
                self.rows[name] = transitions.waiting(held, phase, reason, self.moment)
                return False
        return True

    def as_it_is(self, name: str) -> ActualWorkload | None:
        actual = self.rows.get(name)
        if actual and actual.instance and actual.instance.id in self.exits:
            exit_ = self.exits.pop(actual.instance.id)
            actual = transitions.ended(actual, exit_, self.moment, self.chance.random())
        desired = self.desired.get(name)
        return hold(actual, desired, self.moment) if desired else actual

    def start(self, held: ActualWorkload, dies: str) -> None:
        if held.instance is None:
            self.count += 1
            held = transitions.starting(held, f"i{self.count}", self.moment)
        self.rows[held.name] = held
        assert held.instance
        if dies == "before it was made":
            self.attach()
            return
        identity = ProcessIdentity(self.moment.boot_id, self.count, 1)
        command = held.assignment.spec.process.command[0]
        self.processes.setdefault(held.instance.id, Process(held.name, command, identity))
        self.rows[held.name] = transitions.started(held, identity, self.moment)
        if dies:
            self.rows[held.name] = held
            self.attach()

    @invariant()
    def never_two_of_one_workload(self) -> None:
        workloads = [process.workload for process in getattr(self, "processes", {}).values()]
        assert len(workloads) == len(set(workloads))

    def teardown(self) -> None:
        """Calm: the hub is there, nothing ends by itself any more, time passes."""
        if not hasattr(self, "rows"):
            return
        self.offline_since, self.stop_all = None, False
        for _ in range(6):
            for _ in range(20):
                worked = [self.step(name) for name in NAMES]
                if not any(worked):
                    break
            assert not any(worked), "the plan never comes to rest"
            self.now += 601 * NS
        for name in NAMES:
            self.is_as_wanted(name)

    def is_as_wanted(self, name: str) -> None:
        commands = [one.command for one in self.processes.values() if one.workload == name]
        if name not in self.desired:
            assert (commands, name in self.rows) == ([], False)
            return
        row, wanted = self.rows[name], self.desired[name]
        assert in_force(row.assignment, wanted)
        match row.phase:
            case "running":
                assert commands == wanted.spec.process.command
            case "succeeded" | "failed":
                assert commands == []
                assert wanted.spec.restart.policy != "always"
            case phase:
                assert phase == "pending"
                assert unmet(wanted, self.desired, self.rows)


TestNode = pytest.mark.guarantee("G3")(Node.TestCase)
TestNode.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
