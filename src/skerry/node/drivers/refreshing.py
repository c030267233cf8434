"""For which starts a newer image is looked for: those on purpose, and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from skerry.wire.workload import Assignment


class Refreshes:
    """`running` are the assignments of what runs, by workload: what an earlier agent has started is not started anew."""

    def __init__(self, running: Callable[[], Mapping[str, Assignment]]) -> None:
        self._running = running
        self._adopted: Mapping[str, Assignment] | None = None
        self._orders = 0

    def order(self) -> None:
        """All of them are started anew."""
        self._orders += 1

    def of(self, wish: Assignment) -> int | None:
        """`LocalIntent.refreshes` of a workload."""
        if wish.spec.container is None:
            return None
        if self._adopted is None:
            self._adopted = self._running()
        before = self._adopted.get(wish.workload)
        was = None if before is None else before.spec.container
        same = was is not None and was.image == wish.spec.container.image
        return self._orders + (not same)
