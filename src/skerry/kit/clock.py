"""Time as an argument: wall time, monotonic time, sleeping, and which boot this is."""

from __future__ import annotations

import asyncio
import datetime
import time
from pathlib import Path
from typing import Protocol

NS = 1_000_000_000

BUILD_TIME_NS = 1_790_000_000 * NS
"""A time that has surely passed when this build runs (September 2026): a clock behind it is wrong."""


class Clock(Protocol):
    """What the product may know about time; `skerry.testing.ManualClock` is the other implementation."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970 as the device believes them; may jump in both directions."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since boot, including suspend; never goes back within one boot."""
        ...

    def boot_id(self) -> str:
        """A random id that changes with every boot; monotonic times compare only within it."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspends the caller for `seconds` of monotonic time."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def wall_ns(self) -> int:
        return time.time_ns()  # noqa: TID251 - the one place that reads the wall clock

    def monotonic_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        return self._boot_id

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def iso(wall_ns: int) -> str:
    """`wall_ns` as ISO-8601 in UTC with all nine digits, the form of every timestamp that people see."""
    seconds, fraction = divmod(wall_ns, NS)
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError):
        return f"{wall_ns} ns"  # a clock beyond the year 9999 still has to be shown
    return f"{moment.isoformat()[:19]}.{fraction:09d}Z"
