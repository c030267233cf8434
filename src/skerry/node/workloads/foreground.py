"""Workloads that somebody at the device runs in the foreground: wanted for as long as the command that asked is there.

`desired_state` adds them to what the hub wants; neither the hub nor a later agent knows of them. `skerry run` is the
command.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, Refused
from skerry.wire.workload import Assignment, Generation, Restart, WorkloadSpec


class ForegroundRuns:
    """What runs in the foreground now. Rings `told` when that changes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wanted: dict[str, Assignment] = {}
        self.told = Bell()

    def begin(self, spec: WorkloadSpec, taken: Collection[str]) -> Assignment:
        """Wants the workload, once, without restarts. `taken` are the names of the workloads that are here.

        Raises InvalidInput for a spec that is none, Refused for a name that is taken or what only the hub hands out.
        """
        from skerry.core.specs import check_spec  # noqa: PLC0415 - it reads YAML, too: only where somebody runs one

        cannot = f"cannot run «{spec.name}» in the foreground"
        if faults := check_spec(spec):
            raise InvalidInput(f"{cannot}: {'; '.join(faults)}")
        if spec.name in self._wanted or spec.name in taken:
            raise Refused(
                f"{cannot}: a workload of this name is on this node. Give the one in the file another name."
            )
        if handed_out := _handed_out(spec):
            raise Refused(
                f"{cannot}: it names {handed_out}, which the hub hands out. Leave them out, or «skerry apply» it."
            )
        once = replace(spec, restart=Restart(policy="never"))
        wish = Assignment(spec.name, Generation(0, self._clock.wall_ns()), once)
        self._wanted[spec.name] = wish
        self.told.ring()
        return wish

    def end(self, wish: Assignment) -> None:
        """It is not wanted any more."""
        if self._wanted.get(wish.workload) is wish:
            del self._wanted[wish.workload]
            self.told.ring()

    def wants(self, wish: Assignment) -> bool:
        """Whether it is still wanted: the hub's workload of the same name ends it."""
        return self._wanted.get(wish.workload) is wish

    def beside(self, others: Collection[str]) -> list[Assignment]:
        """All of them but those whose name the hub has given out meanwhile, which end."""
        for name in self._wanted.keys() & set(others):
            del self._wanted[name]
        return list(self._wanted.values())

    def __contains__(self, workload: str) -> bool:
        return workload in self._wanted


def _handed_out(spec: WorkloadSpec) -> str:
    """What only an assignment of the hub brings; empty: the workload needs none of it."""
    if spec.models:
        return "models"
    pulls_with = spec.container is not None and spec.container.pull_secret
    return "secrets" if spec.secrets or pulls_with else ""
