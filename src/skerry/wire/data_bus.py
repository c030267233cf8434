"""What a node tells the child that is its data bus (`skerry.runners.zenoh`). Reference: docs/reference/cyberwave-data-bus.md.

The order is among the child's arguments, so nothing in it is secret.
"""

from __future__ import annotations

from typing import Literal

import msgspec

PORT = 7447

ONE_FILE = 1.0
"""A second, of each channel, where nothing is said."""

Kept = Literal["keep", "sample", "file", "ring", "off"]
"""As records of one of the two stream classes, as files, only in the ring that events make recordings of, or not at all."""


class ChannelRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of the channels whose keys fit `keys`, at most `rate` samples a second of each; 0: all of them.

    Of the rules that are no ring's the first one that fits counts, and so of the ring's. `on`, of a ring's: names of the
    event records that make a recording.
    """

    keys: str
    kept: Kept
    rate: float = 0.0
    on: str = ""


class Ring(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ring holds: the last `seconds`, in at most `size` bytes. On the disk it is encrypted if `sealed`."""

    seconds: float = 300.0
    size: int = 256_000_000
    sealed: bool = False


class BusOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """One data bus. `hosts` are the addresses besides the loopback's that the router listens at; `port` None: no router.

    `directories` is where the filesystem backend writes; empty: nowhere. Only channels of `twins` are recorded.
    """

    port: int | None = None
    hosts: list[str] = []
    directories: str = ""
    twins: list[str] = []
    rules: list[ChannelRule] = []
    ring: Ring = Ring()
