"""Opens what its arguments name, and stays until it is told to end (SIGTERM, SIGINT).

A router that records nothing needs few libraries, and is the usual one: the rest is loaded with the first rule.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from skerry.runners.zenoh.endings import NO_ZENOH, PORT_TAKEN, Failure, say
from skerry.runners.zenoh.last import Heard, LastBytes
from skerry.wire.extras import installing

TYPE_CHECKING = False
"""Checkers take it for true. `typing` itself would be a tenth of what this process has for itself."""

if TYPE_CHECKING:
    from typing import NoReturn

    from skerry.runners.zenoh.router import Router

_ENDS = (signal.SIGTERM, signal.SIGINT)

_LOOK_EVERY = 0.25
"""Seconds between two looks whether an address of a container network has come."""


def main() -> NoReturn:
    """Does what the arguments say, as `node.bus.router.command` makes them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # before there are threads: they inherit it
    try:
        code = _run(*sys.argv[1:])
    except Failure as failure:
        say(str(failure))
        code = failure.code
    # Threads may wait for the node or in Zenoh for ever.
    os._exit(code)


def _run(recording: str, port: str = "", *hosts: str) -> int:
    heard: Heard = _nobody
    if recording:
        from skerry.runners.zenoh import assembly  # noqa: PLC0415 - most routers only route

        heard = assembly.start(recording)
    router = _router(int(port), hosts, heard) if port else None
    moved = False
    if router and hosts:
        moved = _has_moved(router)
    else:
        signal.sigwait(_ENDS)
    if router:
        router.close()
    if moved:
        say("an address of a container network has come: the router begins anew")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - itself
    return 0


def _has_moved(router: Router) -> bool:
    """Waits until it is told to end, or has to begin anew."""
    while signal.sigtimedwait(_ENDS, _LOOK_EVERY) is None:
        if router.has_moved():
            return True
    return False


def _router(port: int, hosts: Sequence[str], heard: Heard) -> Router:
    try:
        from skerry.runners.zenoh.router import Router  # noqa: PLC0415 - Zenoh may not be installed
    except ModuleNotFoundError as error:
        if error.name != "zenoh":
            raise
        words = f"this node has no Zenoh router. {installing('zenoh')}"
        raise Failure(NO_ZENOH, words) from error
    try:
        router = Router(port, hosts, LastBytes(), heard)
    except OSError as error:
        raise Failure(PORT_TAKEN, str(error)) from error
    say(f"the Zenoh router listens at port {port}")
    return router


def _nobody(key: str, sample: bytes) -> None:
    """Nothing is recorded."""
