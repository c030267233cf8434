"""How much memory the interpreter's objects take at most, in a block."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def memory() -> Iterator[Callable[[], int]]:
    """Gives the most that there was at once so far, in bytes, beyond what there was at the beginning."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
