"""Broker and gate as workloads of this device: kept by the keeper, so neither ends with the agent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skerry.gate import VERSION
from skerry.kit.bell import Bell
from skerry.node.broker.commands import GatePlan, broker_command, gate_command
from skerry.node.device_workloads import own_assignment
from skerry.node.ports import Launch
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

_SHORT = Stop(grace=2.0)
_MEMORY = 128 << 20


class BrokerWorkloads:
    """Implements `twin_ports.DeviceWorkloads`. `mosquitto` is the broker's program."""

    def __init__(self, plan: GatePlan, mosquitto: Path) -> None:
        self.told = Bell()
        commands = {BROKER: broker_command(mosquitto, plan.run), GATE: gate_command(plan)}
        self._wanted = [
            own_assignment(_spec(name, command, plan), str(VERSION))
            for name, command in commands.items()
        ]

    def wanted(self) -> Sequence[Assignment]:
        return self._wanted

    def launch_for(self, assignment: Assignment, instance: str) -> Launch | None:  # noqa: ARG002 - the usual one does
        return None

    def is_local(self, workload: str) -> bool:
        return workload in (BROKER, GATE)


def _spec(name: str, command: list[str], plan: GatePlan) -> WorkloadSpec:
    """Both hold whole messages in memory while they pass; the gate's journal counts as its own memory, too."""
    memory = _MEMORY + plan.journal_limit + plan.largest
    return WorkloadSpec(
        name=name,
        process=ProcessSpec(command=command),
        restart=_AT_ONCE,
        stop=_SHORT,
        resources=Resources(memory=memory),
    )
