"""Python's collector of garbage, kept from looking at what a process loads once and for all."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """What is made meanwhile is never looked at: modules stay, and to search them takes a fifth of a process's start.

    So it is the first time in a process: garbage that is frozen with the rest would stay, too.
    """
    first = gc.get_freeze_count() == 0
    gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
        gc.enable()
