"""The keeper's event loop: descriptors, callbacks, two priorities and timers, on epoll."""

from __future__ import annotations

import heapq
import itertools
import select
from collections.abc import Callable

Callback = Callable[[], object]

_READABLE = ~select.EPOLLOUT
"""A hang-up is one more thing to read."""

_WRITABLE = ~select.EPOLLIN


class _Watch:
    __slots__ = ("is_output", "known", "on_readable", "on_writable")

    def __init__(self, on_readable: Callback, *, is_output: bool) -> None:
        self.on_readable: Callback | None = on_readable
        self.on_writable: Callback | None = None
        self.is_output = is_output
        self.known = self.events()
        """What the system has been told."""

    def events(self) -> int:
        """Without any, a hang-up is told once at most, where it would be reported again and again."""
        reading = select.EPOLLIN if self.on_readable else 0
        return reading | (select.EPOLLOUT if self.on_writable else 0) or select.EPOLLET


class Loop:
    """Calls back when a descriptor is ready. A callback moves a bounded amount and comes round again.

    The system has room for a descriptor from `watch` to `forget`, so only `watch` can fail.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._timers: list[tuple[float, int, Callback]] = []
        self._numbers = itertools.count()
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self.highest_fd = self._epoll.fileno()
        """No descriptor above it has ever been watched, or kept beside."""

    def watch(self, fd: int, on_readable: Callback, *, is_output: bool = False) -> None:
        """Calls `on_readable` in every turn in which `fd` can be read; for output, after everything else.

        Raises OSError where the system is short of memory, or of what this user may watch (`fs.epoll.max_user_watches`).
        """
        watch = _Watch(on_readable, is_output=is_output)
        self._epoll.register(fd, watch.known)
        self._watches[fd] = watch
        self.keep_beside(fd)

    def keep_beside(self, fd: int) -> None:
        """One that is not watched, and that children close with the others."""
        self.highest_fd = max(self.highest_fd, fd)

    def when_writable(self, fd: int, callback: Callback | None) -> None:
        """Calls back while `fd`, which is watched already, can be written; None ends that."""
        watch = self._watches[fd]
        watch.on_writable = callback
        self._tell(fd, watch)

    def when_readable(self, fd: int, callback: Callback | None) -> None:
        """Another callback for `fd`, which is watched already; with None what arrives waits in the system."""
        watch = self._watches[fd]
        watch.on_readable = callback
        self._tell(fd, watch)

    def forget(self, fd: int) -> None:
        """No callback for `fd` from the next turn on; it may be closed then."""
        del self._watches[fd]
        self._epoll.unregister(fd)

    def _tell(self, fd: int, watch: _Watch) -> None:
        events = watch.events()
        if events != watch.known:
            self._epoll.modify(fd, events)
            watch.known = events

    def later(self, seconds: float, callback: Callback) -> None:
        """Calls back once, not before `seconds` have passed."""
        due = self._monotonic() + seconds
        heapq.heappush(self._timers, (due, next(self._numbers), callback))

    def turn(self) -> None:
        """Waits for descriptors or a timer, without either for ever, and calls back.

        A descriptor that one callback forgets may still be called in the same turn: callbacks check.
        """
        ready = self._epoll.poll(self._patience(), max(1, len(self._watches)))
        found = [(self._watches[fd], events) for fd, events in ready]
        for watch, events in sorted(found, key=_after_processes):
            if events & _WRITABLE and watch.on_writable:
                watch.on_writable()
            if events & _READABLE and watch.on_readable:
                watch.on_readable()
        while self._timers and self._patience() == 0:
            _, _, callback = heapq.heappop(self._timers)
            callback()

    def _patience(self) -> float | None:
        """Seconds until the next timer."""
        return max(0.0, self._timers[0][0] - self._monotonic()) if self._timers else None


def _after_processes(ready: tuple[_Watch, int]) -> bool:
    return ready[0].is_output
