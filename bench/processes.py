"""Looking at processes from outside: memory, CPU, and the stamps that a benchmark's workload writes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
STAMP_SOURCE = Path(__file__).with_name("stamp.c")


def build_stamp(directory: Path) -> Path:
    """Compiles stamp.c statically: its start costs next to nothing, so its stamp is the manager's time."""
    binary = directory / "stamp"
    subprocess.run(["gcc", "-O2", "-static", "-o", str(binary), str(STAMP_SOURCE)], check=True)
    return binary


def stamps(path: Path) -> list[tuple[int, int]]:
    """(start time in ns, pid) of every process that wrote to `path`; unfinished lines are left out."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines]


def wait_for_stamps(path: Path, count: int, timeout: float = 60.0) -> list[tuple[int, int]]:
    """The stamps once there are `count` of them."""
    deadline = time.monotonic() + timeout
    while len(found := stamps(path)) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path}: {len(found)} of {count} stamps within {timeout} s")
        time.sleep(0.0005)
    return found


def wait_for_files(paths: Sequence[Path], timeout: float = 60.0) -> int:
    """The newest stamp once every file has one."""
    return max(wait_for_stamps(path, 1, timeout)[-1][0] for path in paths)


def descendants(pid: int) -> list[int]:
    """`pid` and all processes below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError):
                continue  # it ended while we looked
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting += children.get(current, [])
    return found


def pss_mb(pid: int) -> float:
    """Proportional set size: shared pages count by share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no Pss of process {pid}")


def rss_mb(pid: int) -> float:
    """Resident set size."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no VmRSS of process {pid}")


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time used so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def cpu_percent(pids: Sequence[int], seconds: float) -> float:
    """Share of one core used by `pids` over `seconds`."""
    before = cpu_seconds(pids)
    time.sleep(seconds)
    return (cpu_seconds(pids) - before) / seconds * 100
