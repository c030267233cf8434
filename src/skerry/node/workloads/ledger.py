"""Who holds how much of the node's memory, and who waits for some: the books of `admission`.

Lives in the event loop; nothing is awaited between an answer and its entry, so two units cannot be given the same
room. Nothing of it is stored: a new agent takes over what runs, and who waited begins to wait again, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads.admission import Claim, can_ever_fit, held_by, refusal


class MemoryLedger:
    """`limit` is in bytes; None: there is room for everybody. `wake` is told each who waits when there may be room.

    Turns change without a call: who waits asks again after `admission.TURN`. `now` is monotonic, in ns.
    """

    def __init__(
        self, limit: int | None, wake: Callable[[str], None], now: Callable[[], int]
    ) -> None:
        self._limit = limit
        self._wake = wake
        self._now = now
        self._held: dict[str, Claim] = {}
        self._waiting: dict[str, Claim] = {}
        self._tickets = 0

    @property
    def reserved(self) -> int:
        """What is held, in bytes; without the node's own share."""
        return sum(claim.size for claim in self._held.values())

    def take_over(self, actual: Iterable[ActualWorkload]) -> None:
        """Enters what a former agent has started. It is never ended for want of room, even if the limit is lower now."""
        for one in sorted(actual, key=lambda one: one.name):
            if _keeps(one):
                size = held_by(one)
                self._held[one.name] = Claim(one.name, size, self._ticket())

    def ask(self, name: str, size: int) -> str:
        """Holds at least `size` for `name` from now on, or says why not and lets it wait."""
        if self._limit is None:
            return ""
        own, before = self._held.get(name), self._waiting.pop(name, None)
        # Who asks for more than before has to let those pass who were let in beside the smaller wish.
        keeps_place = before is not None and size <= before.size
        now = self._now()
        wish = Claim(name, size, self._ticket(), now)
        if before is not None and keeps_place:
            wish = replace(before, size=size)
        reason = refusal(self._limit, self._held.values(), self._waiting.values(), wish, now)
        if reason and can_ever_fit(self._limit, size):
            self._waiting[name] = wish
        elif not reason and (own is None or size > own.size):
            self._held[name] = wish
        if reason and before is not None and before != self._waiting.get(name):
            self._ring()
        return reason

    def settle(self, name: str, actual: ActualWorkload | None) -> None:
        """Enters how things stand after a step: nobody waits who does not ask, and what lives holds what it was started with."""
        own = self._held.get(name)
        if own is None:
            return
        if actual is None or not _keeps(actual):
            del self._held[name]
            self._ring()
        elif actual.phase == "running" and own.size > held_by(actual):
            self._held[name] = replace(own, size=held_by(actual))
            self._ring()

    def leave(self, name: str) -> None:
        """It asks for nothing any more."""
        if self._waiting.pop(name, None) is not None:
            self._ring()

    def _ring(self) -> None:
        for claim in sorted(self._waiting.values(), key=lambda claim: claim.ticket):
            self._wake(claim.name)

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets


def _keeps(actual: ActualWorkload) -> bool:
    """Whether it holds memory, or will be back at once: one that has tripped leaves its room to others."""
    return bool(actual.instances) or actual.phase == "backoff"
