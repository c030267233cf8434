"""Random wishes, exits, reboots, crashes and outages: there are never two instances of one workload, or two while
a successor proves itself or its predecessor ends, and when things calm down every workload is as it is wanted."""

import contextlib
import random
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace
from tests.workload_cases import wish

from skerry.kit.clock import NS
from skerry.kit.errors import Refused
from skerry.node.ports import Excess, ProcessIdentity, RunningInstance
from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads import overlap, transitions
from skerry.node.workloads.attach import after_reboot, attach
from skerry.node.workloads.changes import in_force
from skerry.node.workloads.dependencies import unmet
from skerry.node.workloads.locks import LockOrder, ordered
from skerry.node.workloads.plan import Facts, step_for
from skerry.node.workloads.steps import (
    AbandonInstance,
    Beside,
    BesideStep,
    EndExcess,
    KillWorkload,
    Promote,
    Remove,
    StartWorkload,
    Step,
    StopWorkload,
    Wait,
)
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import (
    Assignment,
    Exit,
    Generation,
    OnDisconnect,
    ProcessSpec,
    Ready,
    Restart,
    Update,
)

NAMES = ["a", "b", "c"]
names = st.sampled_from(NAMES)
OVERLAP = Update(strategy="overlap", ready_within=20.0)


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
        self.count = 1
        self.offline_since: int | None = None
        self.stop_all = False
        self.stubborn: set[str] = set()
        self.never_ready, self.proven = set[str](), set[str]()
        self.excesses: dict[str, Excess] = {}
        self.chance = random.Random(1)
        for name in NAMES:
            self.desired[name] = wish(name, command="x", ready=Ready(tcp=80), update=OVERLAP)
            self.work(name)

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
        update=st.sampled_from(["recreate", "overlap", "probed overlap"]),
    )
    def apply(
        self, name: str, command: str, policy: str, depends_on: dict[str, str], cautious: bool, update: str
    ) -> None:  # fmt: skip
        self.count += 1
        self.desired[name] = wish(
            name,
            self.count,
            command=command,
            restarts=self.desired[name].restarts if name in self.desired else 0,
            restart=Restart(policy=policy, attempts=3),  # type: ignore[arg-type]
            depends_on={other: how for other, how in depends_on.items() if other < name},
            on_disconnect=OnDisconnect(stop_after=30.0 if cautious else None),
            update=OVERLAP if "overlap" in update else Update(),
            ready=Ready(tcp=80) if "probed" in update else None,
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

    @rule(index=st.integers(0, 3), at_once=st.booleans())
    def pass_a_limit(self, index: int, at_once: bool) -> None:
        if self.processes:
            instance = sorted(self.processes)[index % len(self.processes)]
            self.excesses[instance] = Excess("", instance, "memory", "", at_once)

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

    @rule(command=st.sampled_from("xyz"))
    def break_or_mend_a_version(self, command: str) -> None:
        self.never_ready ^= {command}

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

    @rule(seconds=st.sampled_from([0, 11, 21]))
    def work_until_nothing_is_to_do(self, seconds: float) -> None:
        self.now += int(seconds * NS)
        for _ in range(20):
            worked = [self.step(name) for name in NAMES]
            if not any(worked):
                return
        raise AssertionError("the plan never comes to rest")

    @rule(name=names, command=st.sampled_from("xyz"))
    def change_what_is_there(self, name: str, command: str) -> None:
        if name in self.desired:
            self.count += 1
            old = self.desired[name]
            spec = replace(old.spec, process=ProcessSpec(command=[command]))
            generation = Generation(old.generation.epoch, self.count)
            self.desired[name] = Assignment(name, generation, spec, old.restarts)

    @rule(name=names, made=st.booleans())
    def die_while_starting(self, name: str, made: bool) -> None:
        self.step(name, dies="after the process was made" if made else "before it was made")

    @rule(name=names)
    @precondition(lambda self: self.processes)
    def die_and_lose_the_store(self, name: str) -> None:
        """An old copy of the store is put back: it does not know what runs."""
        if name in self.rows and self.rows[name].instances:
            del self.rows[name]
            self.attach()

    def attach(self) -> None:
        processes = self.processes.items()
        running = [RunningInstance(key, one.workload, one.identity) for key, one in processes]
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
        excesses = tuple(self.excesses[one.id] for one in held.instances if one.id in self.excesses)
        facts = Facts(self.moment, offline, stop_all=self.stop_all, excesses=excesses)
        step = step_for(held, self.desired, {**self.rows, name: held}, facts)
        self.serves_without_a_gap(held, step)
        match step:
            case Wait(phase=phase, reason=reason):
                self.rows[name] = transitions.waiting(held, phase, reason, self.moment)
                return False
            case Beside(step=inner):
                self.step_beside(held, inner, dies)
            case StartWorkload():
                self.start(held, dies)
            case _:
                self.carry_out(step, held)
        return True

    def carry_out(self, step: Step, held: ActualWorkload) -> None:
        name = held.name
        match step:
            case Promote():
                old = held.instance
                self.rows[name] = overlap.promoted(held, self.moment)
                if old and name not in self.stubborn:
                    self.end(old.id, Exit(signal=15, at=self.moment.wall))
            case StopWorkload(reason=reason):
                self.rows[name] = transitions.stopping(held, reason, self.moment)
                if name not in self.stubborn and held.instance:
                    self.end(held.instance.id, Exit(signal=15, at=self.moment.wall))
            case EndExcess(excess=excess):
                self.rows[name] = transitions.exceeding(held, excess, self.moment)
            case KillWorkload():
                self.rows[name] = transitions.killed(held, self.moment)
                if held.instance:
                    self.end(held.instance.id, Exit(signal=9, at=self.moment.wall))
            case AbandonInstance():
                self.rows[name] = transitions.not_made(held, self.moment)
            case Remove():
                del self.rows[name]

    def serves_without_a_gap(self, held: ActualWorkload, step: object) -> None:
        """What runs is ended for the sake of a successor only when that one has proven itself."""
        wish, serving, other = self.desired.get(held.name), held.instance, held.beside
        if not wish or wish.spec.update.strategy != "overlap":
            return
        if serving is None or serving.identity is None:
            return
        if isinstance(step, StopWorkload):
            assert step.reason not in {"changed", "restart"}
        if isinstance(step, Promote):
            assert other
            assert other.instance
            assert other.instance.id in self.processes or other.instance.id in self.exits
            assert other.ready
            if other.assignment.spec.ready is None:
                assert self.now >= other.instance.started + 10 * NS
            else:
                assert other.instance.id in self.proven

    def step_beside(self, held: ActualWorkload, step: BesideStep, dies: str) -> None:
        wish = self.desired.get(held.name, held.assignment)
        other = held.beside or transitions.first_seen(wish, self.moment)
        after: ActualWorkload | None
        match step:
            case StartWorkload():
                self.start_beside(held, other, dies)
                return
            case StopWorkload(reason=reason):
                after = overlap.stopping(other, reason, self.moment, self.chance.random())
                if held.name not in self.stubborn and other.instance:
                    self.end(other.instance.id, Exit(signal=15, at=self.moment.wall))
            case EndExcess(excess=excess):
                after = overlap.exceeding(other, excess, self.moment, self.chance.random())
            case KillWorkload():
                after = overlap.killed(other, self.moment)
                if other.instance:
                    self.end(other.instance.id, Exit(signal=9, at=self.moment.wall))
            case AbandonInstance():
                after = overlap.not_made(other, self.moment)
        self.rows[held.name] = replace(held, beside=after)

    def start_beside(self, held: ActualWorkload, other: ActualWorkload, dies: str) -> None:
        if other.instance is None:
            self.count += 1
            other = transitions.starting(other, f"i{self.count}", self.moment, 1 - held.slot)
        self.rows[held.name] = replace(held, beside=other)
        if dies == "before it was made":
            self.attach()
            return
        made = transitions.started(other, self.make(other), self.moment)
        if dies:
            self.attach()
        else:
            self.rows[held.name] = replace(held, beside=made)

    def as_it_is(self, name: str) -> ActualWorkload | None:
        actual = self.rows.get(name)
        other = actual.beside if actual else None
        if actual and other and other.instance and other.instance.id in self.exits:
            exit_ = self.exits.pop(other.instance.id)
            gone = overlap.ended(other, exit_, self.moment, self.chance.random())
            actual = replace(actual, beside=gone)
        if actual and actual.instance and actual.instance.id in self.exits:
            exit_ = self.exits.pop(actual.instance.id)
            actual = transitions.ended(actual, exit_, self.moment, self.chance.random())
        if actual:
            other = self.probed(actual.beside) if actual.beside else None
            actual = replace(self.probed(actual), beside=other)
        desired = self.desired.get(name)
        return overlap.hold(actual, desired, self.moment) if desired else actual

    def probed(self, row: ActualWorkload) -> ActualWorkload:
        process = self.processes.get(row.instance.id) if row.instance else None
        if process is None or row.assignment.spec.ready is None or row.phase != "running":
            return row
        ready = process.command not in self.never_ready
        if ready and row.instance:
            self.proven.add(row.instance.id)
        return transitions.probed(row, ready=ready, failure="" if ready else "not ready: no")

    def start(self, held: ActualWorkload, dies: str) -> None:
        if held.instance is None:
            self.count += 1
            held = transitions.starting(held, f"i{self.count}", self.moment)
        self.rows[held.name] = held
        assert held.instance
        if dies == "before it was made":
            self.attach()
            return
        identity = self.make(held)
        self.rows[held.name] = transitions.started(held, identity, self.moment)
        if dies:
            self.rows[held.name] = held
            self.attach()

    def make(self, row: ActualWorkload) -> ProcessIdentity:
        assert row.instance
        assert row.assignment.spec.process
        identity = ProcessIdentity(self.moment.boot_id, self.count, 1)
        command = row.assignment.spec.process.command[0]
        self.processes.setdefault(row.instance.id, Process(row.name, command, identity))
        return identity

    @invariant()
    def only_what_the_rows_know_lives(self) -> None:
        """So at most two of one workload, and two only where one is beside the other."""
        rows = getattr(self, "rows", {})
        for instance, process in getattr(self, "processes", {}).items():
            assert instance in {one.id for one in rows[process.workload].instances}
        for row in rows.values():
            slots = [instance.slot for instance in row.instances]
            assert len(slots) == len(set(slots))

    def teardown(self) -> None:
        """Calm: the hub is there, nothing ends by itself any more, time passes."""
        if not hasattr(self, "rows"):
            return
        self.offline_since, self.stop_all = None, False
        self.never_ready.clear()
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
        if not in_force(row.assignment, wanted):
            assert wanted.spec.update.strategy == "overlap"
            assert unmet(wanted, self.desired, self.rows)
            assert row.phase == "running" or unmet(row.assignment, self.desired, self.rows)
            return
        assert row.beside is None
        match row.phase:
            case "running":
                assert commands == wanted.spec.process.command
            case "succeeded" | "failed":
                assert commands == []
                assert wanted.spec.restart.policy != "always"
            case phase:
                assert phase == "pending"
                assert unmet(wanted, self.desired, self.rows)


TestNode = pytest.mark.timeout(120)(pytest.mark.guarantee("G3")(Node.TestCase))
TestNode.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
