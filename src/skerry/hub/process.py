"""What a process that is nothing but a hub sets up for itself before it serves."""

from __future__ import annotations

import ctypes
import gc
import logging
import resource

_M_ARENA_MAX = -8
"""Of `mallopt(3)`."""


def set_up_logging() -> None:
    """Plain lines on standard error, for the process that is nothing but a hub."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)


def set_up_collector() -> None:
    """Rare and cheap garbage collections, for the process that is nothing but a hub.

    Each live link is some two hundred objects that stay. By default a full collection of 2,000 links stops the
    hub for 0.4 s and comes every ten seconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def set_up_files() -> None:
    """As many open files as the system allows, for the process that is nothing but a hub: each node needs some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def set_up_heap() -> None:
    """One heap for all threads, for the process that is nothing but a hub: what one has freed the others use."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # of glibc; others keep one as it is
        libc.mallopt(_M_ARENA_MAX, 1)
