"""The keeper's event loop: descriptors, callbacks and two priorities, on `selectors`."""

from __future__ import annotations

import selectors
from collections.abc import Callable

Callback = Callable[[], object]


class _Watch:
    __slots__ = ("is_output", "on_readable", "on_writable")

    def __init__(self, on_readable: Callback, *, is_output: bool) -> None:
        self.on_readable = on_readable
        self.on_writable: Callback | None = None
        self.is_output = is_output


class Loop:
    """Calls back when a descriptor is ready. A callback moves a bounded amount and comes round again."""

    def __init__(self) -> None:
        self._selector = selectors.EpollSelector()
        self.highest_fd = self._selector.fileno()
        """No descriptor above it has ever been watched."""

    def watch(self, fd: int, on_readable: Callback, *, is_output: bool = False) -> None:
        """Calls `on_readable` in every turn in which `fd` can be read; for output, after everything else."""
        watch = _Watch(on_readable, is_output=is_output)
        self._selector.register(fd, selectors.EVENT_READ, watch)
        self.highest_fd = max(self.highest_fd, fd)

    def when_writable(self, fd: int, callback: Callback | None) -> None:
        """Calls back while `fd`, which is watched already, can be written; None ends that."""
        watch: _Watch = self._selector.get_key(fd).data
        watch.on_writable = callback
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if callback else 0)
        self._selector.modify(fd, events, watch)

    def forget(self, fd: int) -> None:
        """No callback for `fd` from the next turn on; it may be closed then."""
        self._selector.unregister(fd)

    def turn(self, timeout: float | None) -> bool:
        """Waits up to `timeout` seconds (None: for ever) and calls back; False when nothing was ready.

        A descriptor that one callback forgets may still be called in the same turn: callbacks check.
        """
        ready = self._selector.select(timeout)
        for key, events in sorted(ready, key=_after_processes):
            watch: _Watch = key.data
            if events & selectors.EVENT_WRITE and watch.on_writable:
                watch.on_writable()
            if events & selectors.EVENT_READ:
                watch.on_readable()
        return bool(ready)


def _after_processes(ready: tuple[selectors.SelectorKey, int]) -> bool:
    watch: _Watch = ready[0].data
    return watch.is_output
