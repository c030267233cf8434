"""When entities with a schedule of their own are synced: their edits and the hub's wait for it. Loaded with shared rows.

`row_lanes` gives one to the frames and to the pull. Entities without a schedule, and those of high priority, go at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from skerry.kit.clock import NS, Clock


class RowSchedule:
    """`every` is in seconds, by entity. A first time is at the start; `waits` says which of them may wait at all."""

    def __init__(
        self, every: Mapping[str, float], clock: Clock, waits: Callable[[str], bool]
    ) -> None:
        self._every = every
        self._clock = clock
        self._waits = waits
        self._next = dict.fromkeys(every, 0)
        self._pushing = set(every)
        self._pulling = set(every)

    def of(self, entity: str) -> float | None:
        """Seconds between two syncs of the entity; None: it has no schedule of its own."""
        return self._every.get(entity)

    def come(self) -> bool:
        """Opens what is due now; whether there was any."""
        now = self._clock.monotonic_ns()
        due = [entity for entity, at in self._next.items() if at <= now]
        for entity in due:
            self._next[entity] = now + int(self._every[entity] * NS)
        self._open(due)
        return bool(due)

    def come_now(self) -> None:
        """Opens everything: somebody asked."""
        self._open(self._every)

    def wait(self, most: float) -> float:
        """Seconds until something is due, at most `most`."""
        now = self._clock.monotonic_ns()
        return min([most, *(max(at - now, 0) / NS for at in self._next.values())])

    def may_push(self, entity: str) -> bool:
        """Whether edits of the entity may be frozen."""
        return entity not in self._every or entity in self._pushing or not self._waits(entity)

    def may_pull(self, entity: str) -> bool:
        """Whether the hub may be asked for the entity."""
        return entity not in self._every or entity in self._pulling or not self._waits(entity)

    def pushed(self, entity: str) -> None:
        """Nothing of it waited any more."""
        self._pushing.discard(entity)

    def pulled(self, entities: Iterable[str]) -> None:
        """The hub has told what there is."""
        self._pulling.difference_update(entities)

    def _open(self, entities: Iterable[str]) -> None:
        self._pushing.update(entities)
        self._pulling.update(entities)
