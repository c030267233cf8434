"""The secrets of a node that may never have any: the rest is loaded with the first workload that needs one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from skerry.core.secrets import names_used
from skerry.kit.bell import Bell
from skerry.kit.errors import Refused, Transient
from skerry.wire.workload import Assignment

if TYPE_CHECKING:
    from skerry.node.secrets.room import SecretRoom

log = logging.getLogger(__name__)


class SecretsOnDemand:
    """Implements `workloads.needs.Needs`; `build` loads and makes the `SecretRoom` that does the work."""

    def __init__(
        self, build: Callable[[], SecretRoom], living: Callable[[], Iterable[Assignment]]
    ) -> None:
        self.changed = Bell()
        self._build = build
        self._living = living
        self._room: SecretRoom | None = None

    async def restore(self) -> None:
        """Opens the secrets of what runs already, so that their values are masked from the first line on."""
        if not any(names_used(one.spec) for one in self._living()):
            return
        try:
            await self._opened().open_all()
        except (Transient, Refused, OSError) as error:
            log.warning("%s. What runs with them goes on; until then its log masks less.", error)

    def want(self, assignments: Iterable[Assignment]) -> None:
        wanted = list(assignments)
        if self._room is not None or any(names_used(one.spec) for one in wanted):
            self._opened().want(wanted)

    def missing(self, assignment: Assignment) -> str:
        return self._opened().missing(assignment) if names_used(assignment.spec) else ""

    async def check(self, assignment: Assignment) -> None:
        if why := self.missing(assignment):
            raise Transient(f"cannot start workload «{assignment.workload}»: it {why}")

    def values(self, assignment: Assignment) -> Mapping[str, bytes] | None:
        """The values of its secrets by name; None when one is not open."""
        return self._opened().values(assignment) if names_used(assignment.spec) else {}

    def masked(self, workload: str) -> list[str]:
        """As `SecretRoom.masked`."""
        return [] if self._room is None else self._room.masked(workload)

    async def value(self, assignment: Assignment, name: str) -> bytes:
        """One that is needed before its workload starts. Raises Transient when it is not there."""
        room = self._opened()
        await room.open_all()
        values = room.values(assignment)
        if values is None or name not in values:
            raise Transient(self.missing(assignment) or f"waits for secret «{name}»")
        return values[name]

    async def close(self) -> None:
        if self._room is not None:
            await self._room.close()

    def _opened(self) -> SecretRoom:
        if self._room is None:
            self._room = self._build()
            self._room.changed = self.changed
        return self._room
