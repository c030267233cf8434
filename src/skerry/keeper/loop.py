"""The keeper's event loop: descriptors, callbacks, two priorities and timers, on `selectors`."""

from __future__ import annotations

import heapq
import itertools
import selectors
from collections.abc import Callable

Callback = Callable[[], object]


class _Watch:
    __slots__ = ("is_output", "on_readable", "on_writable")

    def __init__(self, on_readable: Callback, *, is_output: bool) -> None:
        self.on_readable: Callback | None = on_readable
        self.on_writable: Callback | None = None
        self.is_output = is_output

    def events(self) -> int:
        reading = selectors.EVENT_READ if self.on_readable else 0
        return reading | (selectors.EVENT_WRITE if self.on_writable else 0)


class Loop:
    """Calls back when a descriptor is ready. A callback moves a bounded amount and comes round again."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._timers: list[tuple[float, int, Callback]] = []
        self._numbers = itertools.count()
        self._selector = selectors.EpollSelector()
        self._left_alone: dict[int, _Watch] = {}
        self.highest_fd = self._selector.fileno()
        """No descriptor above it has ever been watched."""

    def watch(self, fd: int, on_readable: Callback, *, is_output: bool = False) -> None:
        """Calls `on_readable` in every turn in which `fd` can be read; for output, after everything else."""
        watch = _Watch(on_readable, is_output=is_output)
        self._selector.register(fd, selectors.EVENT_READ, watch)
        self.highest_fd = max(self.highest_fd, fd)

    def when_writable(self, fd: int, callback: Callback | None) -> None:
        """Calls back while `fd`, which is watched already, can be written; None ends that."""
        watch = self._watch_of(fd)
        watch.on_writable = callback
        self._apply(fd, watch)

    def when_readable(self, fd: int, callback: Callback | None) -> None:
        """Another callback for `fd`, which is watched already; with None what arrives waits in the system."""
        watch = self._watch_of(fd)
        watch.on_readable = callback
        self._apply(fd, watch)

    def forget(self, fd: int) -> None:
        """No callback for `fd` from the next turn on; it may be closed then."""
        if self._left_alone.pop(fd, None) is None:
            self._selector.unregister(fd)

    def _watch_of(self, fd: int) -> _Watch:
        watch: _Watch = self._left_alone.get(fd) or self._selector.get_key(fd).data
        return watch

    def _apply(self, fd: int, watch: _Watch) -> None:
        events = watch.events()
        if fd in self._left_alone:
            if events:
                del self._left_alone[fd]
                self._selector.register(fd, events, watch)
        elif events:
            self._selector.modify(fd, events, watch)
        else:
            # A hang-up is reported to whoever is registered, even for nothing, again and again.
            self._selector.unregister(fd)
            self._left_alone[fd] = watch

    def later(self, seconds: float, callback: Callback) -> None:
        """Calls back once, not before `seconds` have passed."""
        due = self._monotonic() + seconds
        heapq.heappush(self._timers, (due, next(self._numbers), callback))

    def turn(self) -> None:
        """Waits for descriptors or a timer, without either for ever, and calls back.

        A descriptor that one callback forgets may still be called in the same turn: callbacks check.
        """
        ready = self._selector.select(self._patience())
        for key, events in sorted(ready, key=_after_processes):
            watch: _Watch = key.data
            if events & selectors.EVENT_WRITE and watch.on_writable:
                watch.on_writable()
            if events & selectors.EVENT_READ and watch.on_readable:
                watch.on_readable()
        while self._timers and self._patience() == 0:
            _, _, callback = heapq.heappop(self._timers)
            callback()

    def _patience(self) -> float | None:
        """Seconds until the next timer."""
        return max(0.0, self._timers[0][0] - self._monotonic()) if self._timers else None


def _after_processes(ready: tuple[selectors.SelectorKey, int]) -> bool:
    watch: _Watch = ready[0].data
    return watch.is_output
