"""What a device consists of, by itself, and what has changed about it."""

from __future__ import annotations

import msgspec


class Drive(msgspec.Struct, frozen=True):
    """A disk of the device. `size` is in bytes."""

    name: str
    size: int
    model: str = ""


class Inventory(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the agent could read without asking for it: empty is not known. Sizes are in bytes.

    `address` is the one that reaches the hub. `capabilities` are devices and programs that are there, and «orders»,
    «edge-orders», «driver-starts» and «topic-orders» (`wire.devices`): the agent takes them.
    """

    model: str = ""
    board: str = ""
    serial: str = ""
    cpu: str = ""
    cpus: int = 0
    memory: int = 0
    drives: list[Drive] = []
    os: str = ""
    kernel: str = ""
    engine: str = ""
    user: str = ""
    address: str = ""
    addresses: list[str] = []
    macs: list[str] = []
    capabilities: list[str] = []


class Differing(msgspec.Struct, frozen=True):
    """One value that a device tells differently than before, as text."""

    name: str
    old: str
    new: str


class InventoryChange(msgspec.Struct, frozen=True):
    """What a device told differently than before; `at` is when the hub heard it, in ns since 1970."""

    at: int
    fields: list[Differing]
