"""Isolation of native workloads, as `process` asks for it. Loads what carries it out only when something is asked.

A launch without limits in standard isolation costs nothing, and most nodes start no other: `means` has the rest.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skerry.node.ports import ProcessLaunch
from skerry.wire.workload import Resources

if TYPE_CHECKING:
    from skerry.node.workloads.runtimes.cgroups import CgroupFiles
    from skerry.node.workloads.runtimes.means import Means


class Prepared(msgspec.Struct, frozen=True):
    """How a launch is isolated: fields for the keeper's request, and words for the status."""

    fields: tuple[tuple[str, object], ...]
    words: str


PLAIN = Prepared((), "standard")


class Isolation:
    """One device's means. `owner` is the node's own mark; `users` are the numbers for strict workloads."""

    def __init__(
        self,
        owner: str,
        data_dir: Path,
        users: range,
        *,
        files: CgroupFiles | None = None,
        mountinfo: Path = Path("/proc/self/mountinfo"),
    ) -> None:
        self._owner = owner
        self._data_dir = data_dir
        self._users = users
        self._files = files
        self._mountinfo = mountinfo

    @cached_property
    def means(self) -> Means:
        """What carries it out."""
        from skerry.node.workloads.runtimes.cgroups import (  # noqa: PLC0415 - a quarter of a megabyte
            CgroupFiles,
            groups_of,
            mounted,
        )
        from skerry.node.workloads.runtimes.means import Means  # noqa: PLC0415

        found = mounted(self._mountinfo.read_text())
        groups = groups_of(found, self._files or CgroupFiles(), self._owner)
        return Means(groups, self._data_dir, self._users)

    async def prepare(self, launch: ProcessLaunch) -> Prepared:
        """Makes what the launch needs; repeating it is harmless. Raises Refused or Transient."""
        if not launch.strict and not _asks(launch.resources):
            return PLAIN
        fields, words = await asyncio.to_thread(lambda: self.means.prepare(launch))
        return Prepared(tuple(fields), words)

    def existing(self, workload: str, instance: str) -> list[tuple[str, object]]:
        """The control groups that a running instance may be in, for the keeper that takes it over."""
        if not self._has_groups():
            return []
        return [("cgroup", path) for path in self.means.existing(workload, instance)]

    def sweep(self) -> None:
        """Removes the control groups that instances have left whose keeper could not."""
        if self._has_groups():
            self.means.groups.sweep()

    def leave(self) -> None:
        """Removes what this node has made in the file systems of control groups, once nothing of it lives."""
        if self._has_groups():
            self.means.groups.leave()

    def _has_groups(self) -> bool:
        """Whether this node has ever made any, on this boot."""
        lines = [line.split() for line in self._mountinfo.read_text().splitlines()]
        return any(
            "cgroup" in line or "cgroup2" in line
            for line in lines
            if Path(line[4], "skerry", self._owner).is_dir()
        )


def _asks(resources: Resources) -> bool:
    limits = (resources.cpu, resources.memory, resources.pids)
    return any(limit is not None for limit in limits)
