"""What `skerry node status` says of a device that serves Cyberwave's twins: the documented lines, and its drivers.

Nothing is asked of anybody but the broker on this device, so it is quick and works without a hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from skerry.kit.clock import NS, Clock
from skerry.kit.errors import SkerryError
from skerry.node.twin_ports import Publish
from skerry.node.twins.config_dir import ConfigDirectory
from skerry.node.twins.known_config import CREDENTIALS
from skerry.wire.cyberwave import CyberwaveStatus, Tick, TwinDriver
from skerry.wire.local import LinkStatus

PATIENCE = 3.0
"""Seconds for the broker's answer."""

_TOPIC = "cyberwave/skerry/status"
"""Nobody may subscribe to it: it belongs to no twin."""


async def cyberwave_status(
    directory: ConfigDirectory,
    link: LinkStatus,
    publish: Publish,
    drivers: Callable[[], Sequence[TwinDriver]],
    missing: str,
    clock: Clock,
) -> CyberwaveStatus:
    """As it is now. `missing`: why there is no broker; empty: there is one."""
    config = directory.config
    ticks = [_credentials(directory), _token(link), await _broker(publish, missing, clock)]
    return CyberwaveStatus(
        config.fingerprint, config.environment, ticks, list(drivers()), list(config.faults)
    )


def _credentials(directory: ConfigDirectory) -> Tick:
    barred = directory.barred()
    return Tick("Credentials", not barred, barred or str(directory.path / CREDENTIALS))


def _token(link: LinkStatus) -> Tick:
    """The one that counts is the node's own for its hub: what it is given, and what it has, is never a driver's."""
    if link.unknown:
        cause = f"the hub at {link.hub} does not accept this device's token: {link.cause}"
        return Tick("Token", ok=False, detail=cause)
    if link.state in ("online", "polling"):
        return Tick("Token", ok=True, detail=f"accepted by {link.hub}")
    why = "this node has no hub" if link.state == "standalone" else f"the hub is away: {link.cause}"
    return Tick("Token", ok=None, detail=why)


async def _broker(publish: Publish, missing: str, clock: Clock) -> Tick:
    if missing:
        return Tick("MQTT broker", ok=False, detail=missing)
    begun = clock.monotonic_ns()
    try:
        async with asyncio.timeout(PATIENCE):
            await publish.publish(_TOPIC, b"{}", 1)
    except SkerryError as error:
        fault = str(error)
    except TimeoutError:
        fault = f"no answer within {PATIENCE:.0f} s"
    else:
        fault = ""
    seconds = (clock.monotonic_ns() - begun) / NS
    return Tick("MQTT broker", not fault, fault or "this device's own", seconds)
