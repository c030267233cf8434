"""The machine as a node uses it."""

from __future__ import annotations

import random

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.service_manager import NOBODY, ServiceManager


class Host(msgspec.Struct, frozen=True):
    """The machine as the node uses it; tests pass a disk that fails and a clock that jumps."""

    clock: Clock
    disk: Disk
    chance: random.Random
    manager: ServiceManager = NOBODY
