"""Whether the kernel has killed for want of memory: read from the control group, because Podman 4 does not tell.

The group is gone soon after its last process, so it is found while the container runs and read the moment that ends.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


class OomCounter(msgspec.Struct, frozen=True):
    """The kernel's count of kills in one control group; `start` is what it was at first."""

    file: Path
    start: int

    def has_risen(self) -> bool:
        """Whether a process of the group was killed since; False when the group is gone."""
        return (_count(self.file) or 0) > self.start


def oom_counter(pid: int, proc: Path = PROC, cgroups: Path = CGROUPS) -> OomCounter | None:
    """The counter of the group that this process is in; None where it cannot be read."""
    try:
        listed = (proc / str(pid) / "cgroup").read_text()
    except OSError:
        return None
    file = counter_file(listed, cgroups)
    start = None if file is None else _count(file)
    return None if file is None or start is None else OomCounter(file, start)


def counter_file(listed: str, cgroups: Path) -> Path | None:
    """Where the count is, by /proc/PID/cgroup: version 1 with a memory controller of its own, else version 2."""
    groups = [line.split(":", 2) for line in listed.splitlines() if line.count(":") >= 2]
    for _, controllers, path in groups:
        if "memory" in controllers.split(","):
            return cgroups / "memory" / path.lstrip("/") / "memory.oom_control"
    for number, controllers, path in groups:
        if number == "0" and not controllers:
            return cgroups / path.lstrip("/") / "memory.events"
    return None


def _count(file: Path) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
