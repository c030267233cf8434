"""What /proc and /sys tell about the device and the agent's process: numbers and words of the kernel's, no command lines."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import zstandard

import skerry

_OF_A_PROCESS = ("State", "VmPeak", "VmRSS", "VmSwap", "Threads", "voluntary_ctxt_switches")
_OF_A_GROUP = (
    "memory.max", "memory.high", "memory.current", "memory.events", "memory.swap.current", "cpu.max", "cpu.stat",
    "pids.max", "pids.current", "io.pressure", "memory.pressure", "cgroup.controllers", "cgroup.freeze",
)  # fmt: skip


class DeviceFacts(msgspec.Struct, frozen=True):
    """Memory, load and pressure, as the kernel writes them."""

    meminfo: dict[str, str]
    loadavg: str
    uptime: str
    pressure: dict[str, str]


class ProcessFacts(msgspec.Struct, frozen=True):
    """A process, and its control group."""

    pid: int
    status: dict[str, str]
    open_files: int | None
    cgroup: str
    group: dict[str, str]


class Mount(msgspec.Struct, frozen=True):
    """Of its options only those without a value: in others there are passwords."""

    on: str
    kind: str
    flags: str


class DiskFacts(msgspec.Struct, frozen=True):
    """The file system of a place, and the room on it in bytes."""

    place: str
    mount: Mount | None
    total: int
    free: int
    inodes_free: int


def versions() -> dict[str, str]:
    """Of everything below the agent."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        system = ""
    kernel = os.uname()
    return {
        "skerry": skerry.__version__,
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        "zstandard": zstandard.__version__,
        "kernel": f"{kernel.sysname} {kernel.release} {kernel.machine}",
        "system": system,
    }


def device(root: Path = Path("/")) -> DeviceFacts:
    """The device as a whole."""
    proc = root / "proc"
    return DeviceFacts(
        _lines(proc / "meminfo"),
        _text(proc / "loadavg"),
        _text(proc / "uptime"),
        {of: _text(proc / "pressure" / of) for of in ("cpu", "io", "memory")},
    )


def process(pid: str, root: Path = Path("/")) -> ProcessFacts:
    """The agent's process and its group of processes. Raises OSError when there is none."""
    here = root / "proc" / pid
    status = _lines(here / "status")
    if not status:
        raise ProcessLookupError(3, "no such process", str(here))
    group = next(
        (line[3:] for line in _text(here / "cgroup").splitlines() if line.startswith("0::")), ""
    )
    directory = root / "sys/fs/cgroup" / group.strip("/")
    facts = {name: _text(directory / name) for name in _OF_A_GROUP}
    return ProcessFacts(
        int(pid),
        {name: status[name] for name in _OF_A_PROCESS if name in status},
        _count(here / "fd"),
        group,
        {name: text for name, text in facts.items() if text},
    )


def disks(places: Iterable[Path], root: Path = Path("/")) -> list[DiskFacts]:
    """The file systems of these places. Raises OSError."""
    mounts = _mounts(root / "proc/self/mountinfo")
    found = []
    for place in dict.fromkeys(places):
        room = os.statvfs(place)
        mount = next((each for each in mounts if place.is_relative_to(each.on)), None)
        size = room.f_frsize
        found.append(
            DiskFacts(str(place), mount, room.f_blocks * size, room.f_bavail * size, room.f_favail)
        )
    return found


def _mounts(path: Path) -> list[Mount]:
    """The longest first, and of several on one place the newest."""
    found = []
    for line in _text(path).splitlines():
        own, _, rest = line.partition(" - ")
        fields = own.split()
        if len(fields) > 5 and rest:
            flags = [word for word in fields[5].split(",") if "=" not in word]
            on = fields[4].encode().decode("unicode_escape")  # «\040» is a blank
            found.append(Mount(on, rest.split()[0], ",".join(flags)))
    return sorted(found, key=lambda mount: len(mount.on))[::-1]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:65536].strip()
    except OSError:
        return ""


def _lines(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in _text(path).splitlines())
    return {name: value.strip() for name, sign, value in pairs if sign}


def _count(directory: Path) -> int | None:
    try:
        return sum(1 for _ in directory.iterdir())
    except OSError:
        return None
