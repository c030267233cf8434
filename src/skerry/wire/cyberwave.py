"""A device that serves Cyberwave's twins, as its own API tells it (`wire.local.NodeStatus`)."""

from __future__ import annotations

import msgspec


class Tick(msgspec.Struct, frozen=True):
    """One of the documented lines of a device's status. `ok` None: it could not be looked at. `seconds` is how long that took."""

    name: str
    ok: bool | None
    detail: str = ""
    seconds: float | None = None


class TwinDriver(msgspec.Struct, frozen=True):
    """A twin that this device serves, and the workload that drives it; empty: none does. `flapping` since, in ns since 1970.

    `problem` is what is the matter with its driver; empty: nothing.
    """

    twin: str
    name: str
    workload: str = ""
    flapping: int | None = None
    problem: str = ""


class CyberwaveStatus(msgspec.Struct, frozen=True):
    """A device that serves Cyberwave's twins."""

    fingerprint: str
    environment: str
    ticks: list[Tick]
    drivers: list[TwinDriver]
    problems: list[str] = []


class DriverOrdered(msgspec.Struct, frozen=True):
    """What became of a person's word about a twin's driver."""

    twin: str
    message: str
