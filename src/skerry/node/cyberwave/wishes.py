"""What this device wants because of Cyberwave: broker and gate from its start on, the rest once it is known."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.kit.bell import Bell, Rings
from skerry.kit.clock import Clock
from skerry.node.ports import Launch
from skerry.node.twin_ports import DeviceWorkloads
from skerry.wire.workload import Assignment


class Wishes:
    """Those of `always`, and of what is served besides. Implements `twin_ports.DeviceWorkloads`."""

    def __init__(self, always: DeviceWorkloads) -> None:
        self.told = Bell()
        self._always = always
        self._sources = [always]
        self._others = Bell()
        """Rings when the sources are others."""

    def serve(self, *sources: DeviceWorkloads) -> None:
        """From now on these, and none of before."""
        self._sources = [self._always, *sources]
        self._others.ring()
        self.told.ring()

    def serves(self, source: DeviceWorkloads) -> bool:
        """Whether it is one of them."""
        return source in self._sources

    async def follow(self, clock: Clock) -> None:
        """Tells on what any of them tells, for ever."""
        while True:
            rings = Rings([self._others, *(source.told for source in self._sources)])
            self.told.ring()  # whatever has rung until now
            await rings.next(clock)

    def wanted(self) -> Sequence[Assignment]:
        return [wish for source in self._sources for wish in source.wanted()]

    def launch_for(self, assignment: Assignment, instance: str) -> Launch | None:
        found = (source.launch_for(assignment, instance) for source in self._sources)
        return next((launch for launch in found if launch is not None), None)

    def is_local(self, workload: str) -> bool:
        return any(source.is_local(workload) for source in self._sources)
