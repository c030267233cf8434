"""The machine as a node uses it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk


@dataclass(frozen=True)
class Host:
    """The machine as the node uses it; tests pass a disk that fails and a clock that jumps."""

    clock: Clock
    disk: Disk
    chance: random.Random
