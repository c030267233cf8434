"""What /proc and /sys tell about the device and the agent's process: numbers and words of the kernel's, no command lines."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zstandard

import skerry

_OF_A_PROCESS = ("State", "VmPeak", "VmRSS", "VmSwap", "Threads", "voluntary_ctxt_switches")
_OF_A_GROUP = (
    "memory.max", "memory.high", "memory.current", "memory.events", "memory.swap.current", "cpu.max", "cpu.stat",
    "pids.max", "pids.current", "io.pressure", "memory.pressure", "cgroup.controllers", "cgroup.freeze",
)  # fmt: skip


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


def device(root: Path = Path("/")) -> dict[str, Any]:
    """Memory, load and pressure."""
    proc = root / "proc"
    return {
        "meminfo": _lines(proc / "meminfo"),
        "loadavg": _text(proc / "loadavg"),
        "uptime": _text(proc / "uptime"),
        "pressure": {of: _text(proc / "pressure" / of) for of in ("cpu", "io", "memory")},
    }


def process(pid: str, root: Path = Path("/")) -> dict[str, Any]:
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
    return {
        "pid": int(pid),
        "status": {name: status[name] for name in _OF_A_PROCESS if name in status},
        "open_files": _count(here / "fd"),
        "cgroup": group,
        "group": {name: text for name, text in facts.items() if text},
    }


def disks(places: Iterable[Path], root: Path = Path("/")) -> list[dict[str, Any]]:
    """The file systems of these places: where they are mounted, of what kind, and the room on them.

    Of their options only those without a value: in others there are passwords.
    """
    mounts = _mounts(root / "proc/self/mountinfo")
    found = []
    for place in dict.fromkeys(places):
        room = os.statvfs(place)
        held = [mount for mount in mounts if place.is_relative_to(mount["on"])]
        found.append({
            "place": str(place),
            "mount": held[-1] if held else None,
            "total": room.f_blocks * room.f_frsize,
            "free": room.f_bavail * room.f_frsize,
            "inodes_free": room.f_favail,
        })  # fmt: skip
    return found


def _mounts(path: Path) -> list[dict[str, str]]:
    """The longest last, and of several on one place the newest."""
    found = []
    for line in _text(path).splitlines():
        own, _, rest = line.partition(" - ")
        fields = own.split()
        if len(fields) > 5 and rest:
            flags = [word for word in fields[5].split(",") if "=" not in word]
            on = fields[4].encode().decode("unicode_escape")  # «\040» is a blank
            found.append({"on": on, "kind": rest.split()[0], "flags": ",".join(flags)})
    return sorted(found, key=lambda mount: len(mount["on"]))


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
