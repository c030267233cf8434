"""What this device wants by itself, beside the hub's assignments: workloads of its own contracts (`twin_ports.DeviceWorkloads`).

Their names begin with a prefix that the hub gives to nobody while they are here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from skerry.core.names import DEVICES_OWN
from skerry.node.ports import Launch
from skerry.node.twin_ports import DeviceWorkloads
from skerry.wire.workload import Assignment, Generation, LocalIntent, WorkloadSpec

LaunchFor = Callable[[Assignment, str], Launch]


GENERATION = Generation(0, 1)
"""Of everything that is the device's own: a lower generation than the one in force counts as stale, and is ignored."""


def own_assignment(spec: WorkloadSpec, *more: str) -> Assignment:
    """An assignment of the device. `more` is what a start depends on besides: with it, or with the spec, what runs is replaced."""
    digest = sha256(b"\0".join(each.encode() for each in more)).hexdigest()
    return Assignment(spec.name, GENERATION, spec, local=LocalIntent(recipe=digest))


class DeviceBook:
    """All of them, once they have joined. `usual` makes the launches of everything else."""

    def __init__(self, usual: LaunchFor) -> None:
        self.sources: Sequence[DeviceWorkloads] = ()
        self.usual = usual

    def reserves(self, workload: str) -> bool:
        """Whether the name is this device's to give."""
        return bool(self.sources) and workload.startswith(DEVICES_OWN)

    def wanted(self) -> list[Assignment]:
        """Those of every source."""
        return [wish for source in self.sources for wish in source.wanted()]

    def launch_for(self, assignment: Assignment, instance: str) -> Launch:
        """The launch of an instance of whatever is on this node. Raises Transient or InvalidInput."""
        if self.reserves(assignment.workload):
            for source in self.sources:
                launch = source.launch_for(assignment, instance)
                if launch is not None:
                    return launch
        return self.usual(assignment, instance)

    def is_local(self, workload: str) -> bool:
        """Whether its status is nobody's business but this device's."""
        return self.reserves(workload) and any(source.is_local(workload) for source in self.sources)
