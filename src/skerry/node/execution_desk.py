"""Commands beside the workloads of this node: finds what runs, and has its runtime start one. Loaded with the first one."""

from __future__ import annotations

from collections.abc import Callable

from skerry.kit.errors import NotFound, Refused
from skerry.kit.nearest import did_you_mean
from skerry.node.execution_port import Execution
from skerry.node.ports import Launch
from skerry.node.store.instances import InstanceStore
from skerry.node.workloads.runtimes.router import Runtimes
from skerry.wire.executions import Wish
from skerry.wire.workload import Assignment


class ExecutionDesk:
    """Implements `execution_port.Executing`."""

    def __init__(
        self,
        instances: InstanceStore,
        launch_for: Callable[[Assignment, str], Launch],
        runtime: Runtimes,
    ) -> None:
        self._instances = instances
        self._launch_for = launch_for
        self._runtime = runtime

    async def begin(self, workload: str, wish: Wish) -> Execution:
        """In the instance that serves, as it was launched."""
        cannot = f"cannot run a command in workload «{workload:.80}»"
        row = self._instances.read(workload)
        if row is None:
            known = did_you_mean(workload, sorted(self._instances.load()))
            raise NotFound(f"{cannot}: it is not on this node: {known}")
        instance = row.instance
        if instance is None or instance.identity is None:
            why = f": {row.message}" if row.message else ""
            raise Refused(f"{cannot}: it does not run (it is {row.phase}{why})")
        launch = self._launch_for(row.assignment, instance.id)
        if not (launch.strict and instance.isolation.startswith("strict")) and not wish.writes:
            # It may have all that the node has, root's rights as a rule: what it was started with counts, too.
            raise Refused(
                f"{cannot} as «{wish.by}»: it is not isolated strictly, so a command in it needs permission write besides "
                "execute. With «isolation: strict» in its spec, execute is enough."
            )
        if launch.lacks:
            raise Refused(f"{cannot}: {launch.lacks}")
        return await self._runtime.execute_in(launch, wish)
