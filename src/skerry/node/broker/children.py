"""Broker and gate as workloads of this device: kept by the keeper, so neither ends with the agent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from skerry.gate import VERSION
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.node.broker.commands import GatePlan, broker_command, gate_command, started
from skerry.node.broker.config import mosquitto_conf
from skerry.node.broker.program import NAME, broker_program, missing
from skerry.node.device_workloads import LaunchFor, own_assignment
from skerry.node.ports import Launch, ProcessLaunch
from skerry.wire.workload import (
    Assignment,
    ProcessSpec,
    Resources,
    Restart,
    Stop,
    WorkloadSpec,
)

BROKER, GATE = "cyberwave-broker", "cyberwave-gate"

_AT_ONCE = Restart(delay=0.1, max_delay=5.0, attempts=1000)
"""Clients wait for them: each second counts, and giving up helps nobody."""

LOOK_EVERY, LOOK_MISSING = 60.0, 5.0
"""Seconds between two looks for the broker's program, and where there is none."""

_SHORT = Stop(grace=2.0)


class BrokerWorkloads:
    """Implements `twin_ports.DeviceWorkloads`. `usual` makes the launch of any workload, `chosen` is the broker's program by the settings.

    Neither's assignment names a release, so both go on over an upgrade, with their clients. The gate begins anew with
    another version of what it and the agent say to each other, the broker with another configuration.

    `problem` is what is wrong where there is none, for people; what runs goes on. `changed` rings when it is another.
    """

    def __init__(self, plan: GatePlan, usual: LaunchFor, chosen: Path | None) -> None:
        self.told = Bell()
        self.changed = Bell()
        self.problem = ""
        self._usual = usual
        self._plan = plan
        self._chosen = chosen
        self._program = chosen or Path(NAME)
        self.look()

    def take_up(self, running: Assignment | None) -> None:
        """At an agent's start, `running` is the broker as it was started: it goes on also while there is no program."""
        if self.problem and running is not None and running.spec.process is not None:
            self._program = Path(running.spec.process.command[0])

    async def follow(self, clock: Clock) -> None:
        """Looks again and again, for ever: somebody may install it."""
        while True:
            await clock.sleep(LOOK_MISSING if self.problem else LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """Looks for the program."""
        found = broker_program(self._chosen)
        problem = "" if found else missing(self._chosen)
        if problem != self.problem:
            self.problem = problem
            self.changed.ring()
        if found is not None and found != self._program:
            self._program = found
            self.told.ring()

    def wanted(self) -> Sequence[Assignment]:
        plan = self._plan
        broker, gate = broker_command(self._program, plan.run), gate_command(plan)
        conf = mosquitto_conf(Path(), "", plan.largest, plan.memory)
        return [
            own_assignment(_spec(BROKER, broker, plan), conf),
            own_assignment(_spec(GATE, gate, plan), str(VERSION)),
        ]

    def launch_for(self, assignment: Assignment, instance: str) -> Launch | None:
        """The gate's is of this release, also of an assignment that another release has left."""
        if assignment.workload != GATE:
            return None
        usual = self._usual(assignment, instance)
        assert isinstance(usual, ProcessLaunch)  # noqa: S101 - as its spec says
        return msgspec.structs.replace(usual, command=started(usual.command), sockets=GATE)

    def is_local(self, workload: str) -> bool:
        return workload in (BROKER, GATE)


def _spec(name: str, command: list[str], plan: GatePlan) -> WorkloadSpec:
    return WorkloadSpec(
        name=name,
        process=ProcessSpec(command=command),
        restart=_AT_ONCE,
        stop=_SHORT,
        resources=Resources(memory=plan.memory),
    )
