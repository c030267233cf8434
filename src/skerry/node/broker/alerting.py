"""The alert of all twins that this device has no broker: nothing of theirs can be heard or told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skerry.kit.bell import Bell, Rings
from skerry.kit.clock import Clock
from skerry.node.broker.children import BrokerWorkloads
from skerry.node.twin_ports import Alerts, NodeAlert

KIND = "mqtt_broker"


class BrokerAlerts:
    """`follow` goes on for ever; `changes` ring when the twins may be others."""

    def __init__(
        self,
        broker: BrokerWorkloads,
        alerts: Alerts,
        twins: Callable[[], Sequence[str]],
        changes: Bell,
        clock: Clock,
    ) -> None:
        self._broker = broker
        self._alerts = alerts
        self._twins = twins
        self._rings = Rings([broker.changed, changes])
        self._clock = clock
        self._told: dict[str, str] = {}

    async def follow(self) -> None:
        """Tells what is new; what could not be told is told when this begins anew."""
        while True:
            self._rings.note()
            await self.look()
            await self._rings.next(self._clock)

    async def look(self) -> None:
        """Tells once of each problem, and of its end; the alerts of an agent before this one count. Raises Transient."""
        problem = self._broker.problem
        for twin in self._twins():
            if self._told.get(twin) == problem:
                continue
            if problem:
                await self._alerts.tell(twin, NodeAlert(KIND, problem))
            else:
                await self._alerts.resolve_kind(twin, KIND)
            self._told[twin] = problem
