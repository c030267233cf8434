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
    if port:
        _route(int(port), hosts, heard)
    else:
        signal.sigwait(_ENDS)
    return 0


def _route(port: int, hosts: Sequence[str], heard: Heard) -> None:
    """Until it is told to end. What is recorded, or waits for the node, stays when the router begins anew."""
    last = LastBytes()
    router = _router(port, hosts, last, heard)
    if not hosts:
        signal.sigwait(_ENDS)
    while hosts and _has_moved(router):
        router.close()
        say("an address of a container network has come: the router begins anew")
        router = _router(port, hosts, last, heard)
    router.close()


def _has_moved(router: Router) -> bool:
    """Waits until it is told to end, or has to begin anew."""
    while signal.sigtimedwait(_ENDS, _LOOK_EVERY) is None:
        if router.has_moved():
            return True
    return False


def _router(port: int, hosts: Sequence[str], last: LastBytes, heard: Heard) -> Router:
    try:
        from skerry.runners.zenoh.router import Router  # noqa: PLC0415 - Zenoh may not be installed
    except ModuleNotFoundError as error:
        if error.name != "zenoh":
            raise
        words = f"this node has no Zenoh router. {installing('zenoh')}"
        raise Failure(NO_ZENOH, words) from error
    try:
        router = Router(port, hosts, last, heard)
    except OSError as error:
        raise Failure(PORT_TAKEN, str(error)) from error
    say(f"the Zenoh router listens at port {port}")
    return router


def _nobody(key: str, sample: bytes) -> None:
    """Nothing is recorded."""
