"""For which starts a newer image is looked for: those on purpose, and no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from skerry.wire.workload import Assignment


class Refreshes:
    """`running` are the assignments of what runs, by workload: what an earlier agent has started is not started anew."""

    def __init__(self, running: Callable[[], Mapping[str, Assignment]]) -> None:
        self._running = running
        self._adopted: Mapping[str, Assignment] | None = None
        self._orders = 0
        self._own: Counter[str] = Counter()

    def order_all(self) -> None:
        """Everything is started anew."""
        self._orders += 1

    def order(self, workloads: Iterable[str]) -> None:
        """These are."""
        self._own.update(workloads)

    def of(self, wish: Assignment) -> int | None:
        """`LocalIntent.refreshes` of a workload."""
        if wish.spec.container is None:
            return None
        if self._adopted is None:
            self._adopted = self._running()
        before = self._adopted.get(wish.workload)
        was = None if before is None else before.spec.container
        same = was is not None and was.image == wish.spec.container.image
        return self._orders + self._own[wish.workload] + (not same)
