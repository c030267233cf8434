"""Random wishes, exits, reboots, crashes and outages: there are never two instances of one workload, or two while
a successor proves itself or its predecessor ends, and when things calm down every workload is as it is wanted."""

import contextlib

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace
from tests.planned_agent import PlannedAgent
from tests.workload_cases import wish

from skerry.kit.clock import NS
from skerry.kit.errors import Refused
from skerry.node.ports import Excess
from skerry.node.workloads.attach import after_reboot
from skerry.node.workloads.changes import in_force
from skerry.node.workloads.dependencies import unmet
from skerry.node.workloads.locks import LockOrder, ordered
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


class Node(PlannedAgent, RuleBasedStateMachine):
    """A node to which people, programs and the world do anything."""

    @initialize()
    def begin(self) -> None:
        self.set_up()
        for name in NAMES:
            self.desired[name] = wish(name, command="x", ready=Ready(tcp=80), update=OVERLAP)
            self.work(name)

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
