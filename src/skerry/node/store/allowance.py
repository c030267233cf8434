"""How much room there is for records: what the disk has free, and what the node's own limit leaves."""

from __future__ import annotations

from pathlib import Path

from skerry.kit.disk import Disk
from skerry.kit.units import format_size


class Allowance:
    """Room in bytes for what is below `directory`. `limit` is for the whole data directory; None: the disk is the limit.

    `others` is what the data directory holds besides records; the limits' watch sets it in the event loop, the commit
    thread reads it.
    """

    def __init__(self, directory: Path, disk: Disk, limit: int | None = None) -> None:
        self.others = 0
        self._directory = directory
        self._disk = disk
        self._limit = limit

    def free(self, used: int) -> int:
        """What is left when the records take `used`."""
        free = self._disk.free_bytes(self._directory)
        return free if self._limit is None else max(min(free, self._left(used)), 0)

    def total(self) -> int:
        """What there would be for an empty data directory."""
        total = self._disk.total_bytes(self._directory)
        return total if self._limit is None else min(total, self._limit)

    def shortage(self, used: int, needed: int) -> str:
        """What is full and the way out, for people; `needed` is the room from which accepting goes on."""
        if self._limit is not None and self._left(used) < self._disk.free_bytes(self._directory):
            return (
                f"the node's limit of {format_size(self._limit)} (runtime.max_storage_usage) is reached. Connect the "
                "hub, or raise the limit in node.yaml"
            )
        return (
            f"the disk of {self._directory} is full. Free space until {format_size(needed)} are free there, or "
            "connect the hub"
        )

    def _left(self, used: int) -> int:
        return (self._limit or 0) - self.others - used
