"""What drivers and workers are held to where nothing says otherwise: none takes the device's memory or its processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

MEMORY_PART = 2
"""A driver's: the device's memory, divided by it."""

_SPARED = 512 << 20
_LEAST = 256 << 20


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
    return _within(total // MEMORY_PART if memory is None else memory, pids, enabled)


def worker_limits(
    memory: int | None,
    pids: int,
    total: int,
    enabled: frozenset[str],
    variables: Mapping[str, str],
) -> DriverLimits:
    """As `limits_here`: the device keeps a quarter of its memory, at least 512 MiB, but for CYBERWAVE_WORKER_AUTO_MEMORY_LIMIT=false."""
    if memory is None:
        auto = variables.get("CYBERWAVE_WORKER_AUTO_MEMORY_LIMIT", "").strip().lower()
        off = not total or auto in ("0", "false", "no", "off")
        memory = 0 if off else max(total - max(_SPARED, total // 4), _LEAST)
    return _within(memory, pids, enabled)


def _within(memory: int, pids: int, enabled: frozenset[str]) -> DriverLimits:
    return DriverLimits(memory if "memory" in enabled else 0, pids if "pids" in enabled else 0)


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
