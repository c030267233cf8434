"""Whoever has started this process as a service and watches it, systemd for one: sd_notify(3), without its library.

`prove_life` is the one loop that speaks to it, so that a process whose parts hang falls silent and is started anew.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Mapping

from skerry.kit.clock import Clock

log = logging.getLogger(__name__)

_BEATS = 3
"""How often it is told within the time after which it would act."""

REBUILDING_SECONDS = 1800.0
"""How long a process that begins anew may take before it proves its life again: it may have a store to rebuild."""


class ServiceManager:
    """`address` is a UNIX datagram socket, empty for nobody; `patience` is after how many silent seconds it acts, if it does."""

    def __init__(self, address: str = "", patience: float | None = None) -> None:
        self._address = address
        self.patience = patience

    @staticmethod
    def of(environment: Mapping[str, str], pid: int) -> ServiceManager:
        """The one that the environment of process `pid` names."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address or environment.get("WATCHDOG_PID", str(pid)) != str(pid):
            return ServiceManager(address)
        microseconds = environment.get("WATCHDOG_USEC", "")
        return ServiceManager(address, int(microseconds) / 1e6 if microseconds else None)

    def ready(self) -> None:
        """The service answers; from now on it proves its life as often as was agreed."""
        self._tell("READY=1" if self.patience is None else f"READY=1\n{_watch(self.patience)}")

    def lives(self) -> None:
        self._tell("WATCHDOG=1")

    def begins_anew(self) -> None:
        """The same process is about to become another one of the same service, which opens its store first."""
        if self.patience is not None:
            self._tell(_watch(REBUILDING_SECONDS))

    def stops(self) -> None:
        self._tell("STOPPING=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        # In the abstract name space a name begins with a NUL byte, which no environment can hold.
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(0.0)
                sock.sendto(state.encode(), address)
        except OSError as error:
            log.warning("cannot tell the service manager «%s»: %s", state.partition("\n")[0], error)


NOBODY = ServiceManager()


async def prove_life(
    manager: ServiceManager, clock: Clock, lives: Callable[[], Awaitable[None]]
) -> None:
    """Says that the service is ready, and that it lives each time that `lives` has returned; where nobody waits, it ends."""
    manager.ready()
    while manager.patience is not None:
        await lives()
        manager.lives()
        await clock.sleep(manager.patience / _BEATS)


def _watch(seconds: float) -> str:
    return f"WATCHDOG_USEC={round(seconds * 1e6)}"
