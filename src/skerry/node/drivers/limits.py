"""What drivers are held to where their `params` say nothing: none takes the device's memory or its processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

MEMORY_PART = 2
"""The device's memory, divided by it."""


class DriverLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes and processes of each; 0: no limit."""

    memory: int = 0
    pids: int = 0

    def beside(self, host: Mapping[str, Any]) -> dict[str, int]:
        """Those that a part of the engine's HostConfig leaves open."""
        found: dict[str, int] = {}
        if self.memory and not host.keys() & {"Memory", "MemorySwap"}:
            found["Memory"] = self.memory
        if self.pids and "PidsLimit" not in host:
            found["PidsLimit"] = self.pids
        return found


def limits_here(memory: int | None, pids: int, total: int, enabled: frozenset[str]) -> DriverLimits:
    """By the settings; `total` is the device's memory, `enabled` what its kernel can limit.

    Some boards' kernels count no memory unless they are told to, and some engines refuse what the kernel cannot.
    """
    wanted = total // MEMORY_PART if memory is None else memory
    return DriverLimits(wanted if "memory" in enabled else 0, pids if "pids" in enabled else 0)


def controllers(
    v2: Path = Path("/sys/fs/cgroup/cgroup.controllers"), v1: Path = Path("/proc/cgroups")
) -> frozenset[str]:
    """What the kernel can limit, of both versions of control groups."""
    found = {words[0] for words in map(str.split, _lines(v1)) if words[-1:] == ["1"]}
    return frozenset(found | {name for line in _lines(v2) for name in line.split()})


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
