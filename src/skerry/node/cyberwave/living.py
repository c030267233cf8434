"""The instances that live on this node, as the device's own programs are concerned: what runs, and what it may."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from skerry.kit.bell import Bell
from skerry.kit.errors import SkerryError, Transient
from skerry.node.broker.granting import Granting
from skerry.node.bus.router import router_launch
from skerry.node.contracts.cyberwave import ROUTER
from skerry.node.contracts.cyberwave_worker import WORKER_PREFIX
from skerry.node.device_workloads import LaunchFor
from skerry.node.drivers.launches import PREFIX
from skerry.node.ports import Launch
from skerry.node.store.instances import ActualWorkload, Instance
from skerry.wire.workload import Assignment

log = logging.getLogger(__name__)


def running_of(rows: Mapping[str, ActualWorkload], boot_id: str) -> Mapping[str, Assignment]:
    """The assignments of what runs, by workload. What an earlier boot has left in the store does not."""
    return {
        name: one.assignment
        for name, one in rows.items()
        if one.instance is not None and one.instance.boot_id == boot_id
    }


class LeftRunning:
    """The drivers and workers of an environment that cannot be told yet: they go on as they were started, and none starts.

    But the router, which knows nobody. `usual` makes the launch of any workload. Implements `twin_ports.DeviceWorkloads`.
    """

    def __init__(self, running: Callable[[], Mapping[str, Assignment]], usual: LaunchFor) -> None:
        self.told = Bell()
        self._running = running
        self._usual = usual

    def wanted(self) -> Sequence[Assignment]:
        return [one for one in self._running().values() if _is_program(one)]

    def launch_for(self, assignment: Assignment, instance: str) -> Launch | None:
        if assignment.workload == ROUTER:
            return router_launch(self._usual(assignment, instance))
        if not _is_program(assignment):
            return None
        raise Transient(
            f"cannot start workload «{assignment.workload}»: this device's environment is not known yet"
        )

    def is_local(self, workload: str) -> bool:
        return workload == ROUTER


class LivingGrants:
    """Keeps the grants of instances that this run of the agent has not started. `launch_for` gives the grant with the launch."""

    def __init__(
        self, tokens: Granting, launch_for: Callable[[Assignment, str], Launch | None]
    ) -> None:
        self._tokens = tokens
        self._launch_for = launch_for

    def restore(self, rows: Mapping[str, ActualWorkload]) -> None:
        """The drivers that run on over an agent's start keep their tokens. Raises OSError."""
        for row, instance in _living(rows):
            self._take_up(row, instance)
        self._tokens.begin()

    def match(self, rows: Mapping[str, ActualWorkload]) -> None:
        """Only what lives has tokens, also what was taken over from a store that was lost. Raises OSError."""
        living = list(_living(rows))
        for row, instance in living:
            if instance.identity is not None and not self._tokens.has(instance.id):
                self._take_up(row, instance)
        self._tokens.keep_only({instance.id for _, instance in living})

    def _take_up(self, row: ActualWorkload, instance: Instance) -> None:
        """One that cannot be taken up is left without a token: the agent and the others go on."""
        try:
            self._launch_for(row.assignment, instance.id)
        except (SkerryError, OSError) as error:
            log.warning(
                "cannot renew the token of workload «%s», which runs without one: %s",
                row.name,
                error,
            )


def _is_program(assignment: Assignment) -> bool:
    """Whether it is there for twins: all that is the device's own but the broker and its gate."""
    return assignment.workload.startswith((PREFIX, WORKER_PREFIX, ROUTER))


def _living(rows: Mapping[str, ActualWorkload]) -> Iterator[tuple[ActualWorkload, Instance]]:
    for one in rows.values():
        for row in (one, one.beside):
            if row is not None and row.instance is not None:
                yield row, row.instance
