"""How the broker and the gate are started: in `run`, which is the node's own, with the journal in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

import skerry.gate
from skerry.kit.socket_path import checked_socket_path

_PROGRAM = "skerry.gate"
"""Stands in the assignment for the gate's file, which is another with each release: what runs goes on over an upgrade."""

_GATE = Path(skerry.gate.__file__).with_name("__main__.py")


_MEMORY = 128 << 20


class GatePlan(msgspec.Struct, frozen=True):
    """Where the gate is and what it may hold, in bytes."""

    run: Path
    journal: Path
    mqtt_port: int
    rest_port: int
    journal_limit: int = 32 * 1024 * 1024
    largest: int = 32 * 1024 * 1024

    @property
    def memory(self) -> int:
        """Of gate and broker each: both hold whole messages while they pass; the gate's journal counts as its own, too."""
        return _MEMORY + self.journal_limit + self.largest


def gate_command(plan: GatePlan) -> list[str]:
    """Names no release (`started`). Raises InvalidInput for a directory with too long a path."""
    checked_socket_path(plan.run / "control")
    numbers = (plan.mqtt_port, plan.rest_port, plan.journal_limit, plan.largest)
    return ["python", "-I", "-S", _PROGRAM, str(plan.run), str(plan.journal), *map(str, numbers)]


def started(command: Sequence[str]) -> tuple[str, ...]:
    """A gate's command with the file of this release's gate, which runs without packages; also one of another release."""
    python, isolated, bare, _, *rest = command
    return (python, isolated, bare, str(_GATE), *rest)


def broker_command(mosquitto: Path, run: Path) -> list[str]:
    """The broker, by the configuration that `mosquitto_conf` makes."""
    return [str(mosquitto), "-c", str(run / "mosquitto.conf")]
