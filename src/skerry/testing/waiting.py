"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_SOON, _LATER = 0.01, 0.05
"""Seconds between two looks, within the first second and after it."""


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], what: str, timeout: float = 30.0
) -> None:
    """Returns once `condition` holds; raises AssertionError naming `what` after `timeout` seconds.

    What takes longer is looked at less often: many conditions ask a process, which has its work to do.
    """
    begun = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            while not await _holds(condition):
                await asyncio.sleep(_SOON if time.monotonic() - begun < 1 else _LATER)
    except TimeoutError:
        raise AssertionError(f"not within {timeout} s: {what}") from None


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    result = condition()
    return result if isinstance(result, bool) else await result
