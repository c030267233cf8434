"""A tmpfs of its own for what programs share, so that none of them fills the device's memory, nor what else is in it."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path

import msgspec

MOUNTS = Path("/proc/self/mounts")

_OPTIONS = "mode=1777,nosuid,nodev,noexec"
_PATIENCE = 10.0

log = logging.getLogger(__name__)


class Tmpfs(msgspec.Struct, frozen=True):
    """A file system in memory at `place`, of at most `size` bytes and `files` files; 0: as many as the kernel gives it.

    Names and directories take memory, too, which does not count in its size.
    """

    place: Path
    size: int
    files: int = 0

    def mounted(self) -> str:
        """Mounts it, or gives it its size where it is there already; returns why that cannot be, or nothing.

        It stays as long as the device is up, like the containers that see it, and with the size that it has where it
        cannot have another: less than what is in it.
        """
        limits = [f"size={self.size}", *([f"nr_inodes={self.files}"] if self.files else [])]
        if self.place in tmpfs_below(self.place.parent):
            for limit in limits:
                if fault := _said(["mount", "-o", f"remount,{limit}", str(self.place)]):
                    log.warning("%s keeps its size: %s", self.place, fault)
            return ""
        options = ",".join([*limits, _OPTIONS])
        return _said(["mount", "-t", "tmpfs", "-o", options, "skerry", str(self.place)])


def tmpfs_below(directory: Path, mounts: Path = MOUNTS) -> list[Path]:
    """Where a file system in memory is mounted below a directory."""
    lines = (line.split() for line in mounts.read_text().splitlines())
    places = [Path(fields[1]) for fields in lines if fields[2] == "tmpfs"]
    return [place for place in places if place != directory and place.is_relative_to(directory)]


def unmount(place: Path) -> str:
    """Ends it, and what is in it; returns why that cannot be, or nothing."""
    return _said(["umount", str(place)])


def _said(command: list[str]) -> str:
    if os.geteuid():
        return "only root mounts file systems"
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return done.stderr.decode(errors="replace").strip() if done.returncode else ""
