"""Looking at processes from outside: memory, CPU, and the stamps that a benchmark's workload writes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

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
        time.sleep(0.001)
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


def alone_mb(pids: Iterable[int]) -> float:
    """What `pids` would take on a machine where nobody else maps their files: shared pages count once, and in full.

    On the bench's machine other Python processes (hub, bench) share the interpreter's pages and lower the PSS.
    """
    anonymous, files = 0, dict[tuple[str, ...], int]()
    for pid in pids:
        for file, rss, private in _mappings(pid):
            anonymous += private
            files[file] = max(files.get(file, 0), rss - private)
    return (anonymous + sum(files.values())) / 1024


def _mappings(pid: int) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Each mapping: its file's place (device, inode, offset), resident KiB, and anonymous KiB of them."""
    file, rss = ("", "", ""), 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            file = (words[3], words[4], words[2])
        elif words[0] == "Rss:":
            rss = int(words[1])
        elif words[0] == "Anonymous:":
            yield file, rss, int(words[1])


def rss_mb(pid: int) -> float:
    """Resident set size."""
    return _status_mb(pid, "VmRSS")


def peak_mb(pid: int) -> float:
    """The largest resident set that the process ever had."""
    return _status_mb(pid, "VmHWM")


def _status_mb(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no {field} of process {pid}")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time used so far by all threads that live, as the scheduler counts it (not in ticks)."""
    return sum(
        int((thread / "schedstat").read_text().split()[0]) / 1e9
        for pid in pids
        for thread in Path(f"/proc/{pid}/task").iterdir()
    )


def written(pid: int) -> tuple[int, int]:
    """Bytes handed to write() so far (what send() takes is not in it), and bytes that the process sent to the device."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["wchar"]), int(fields["write_bytes"])
