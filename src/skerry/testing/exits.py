"""An agent's ear for tests: collects the exits that a runtime tells and waits for one."""

from __future__ import annotations

from skerry.node.ports import EngineRestart, InstanceNews
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit


class Exits:
    """Pass it to `Runtime.connect`. `told` has every exit of each instance, in order, `restarts` those by its engine."""

    def __init__(self) -> None:
        self.told: dict[str, list[Exit]] = {}
        self.restarts: list[EngineRestart] = []

    def __call__(self, news: InstanceNews) -> None:
        if isinstance(news, EngineRestart):
            self.restarts.append(news)
        else:
            self.told.setdefault(news.instance, []).append(news.exit)

    async def of(self, instance: str) -> Exit:
        """The latest exit of the instance, as soon as there is one."""
        await eventually(lambda: instance in self.told, f"the exit of {instance} is told")
        return self.told[instance][-1]
