"""Memory that a process has freed goes back to the system."""

from __future__ import annotations

from skerry.kit.clock import Clock

_SETTLED = 10.0
"""Seconds after which a start's own needs are over."""

_PAUSE = 3600.0


def give_back() -> None:
    """What lies free between things in use, too: of itself only the end of the heap goes back. Does so with glibc alone."""
    import ctypes  # noqa: PLC0415 - 0.7 MB

    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


async def keep_small(clock: Clock) -> None:
    """Gives it back after the start, and each hour from then on: for who has `ctypes` loaded anyway."""
    pause = _SETTLED
    while True:
        await clock.sleep(pause)
        give_back()
        pause = _PAUSE
