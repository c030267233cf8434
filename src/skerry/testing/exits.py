"""An agent's ear for tests: collects the exits that a runtime tells and waits for one."""

from __future__ import annotations

from skerry.node.ports import InstanceExit
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit


class Exits:
    """Pass it to `Runtime.connect`. `told` has every exit of each instance, in order."""

    def __init__(self) -> None:
        self.told: dict[str, list[Exit]] = {}

    def __call__(self, ended: InstanceExit) -> None:
        self.told.setdefault(ended.instance, []).append(ended.exit)

    async def of(self, instance: str) -> Exit:
        """The latest exit of the instance, as soon as there is one."""
        await eventually(lambda: instance in self.told, f"the exit of {instance} is told")
        return self.told[instance][-1]
