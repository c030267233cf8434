"""The agent's part in tests of workload plans: it carries out what the plan says, step by step, and dies where it is told to."""

import random
from dataclasses import dataclass

from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.node.ports import Excess, ProcessIdentity, RunningInstance
from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads import overlap, transitions
from skerry.node.workloads.attach import attach
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
)


@dataclass(frozen=True)
class Process:
    workload: str
    command: str
    identity: ProcessIdentity


class PlannedAgent:
    """Its store is `rows`, its runtime `processes`; time, boots and the link are what the test makes them."""

    def set_up(self) -> None:
        """A device that was just switched on for the first time."""
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

    @property
    def moment(self) -> Moment:
        return Moment(self.now + 10**18, self.now, f"boot-{self.boots}")

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
