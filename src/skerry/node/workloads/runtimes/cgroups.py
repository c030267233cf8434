"""Control groups of native workloads: which hierarchies this device lets us use, and what is written into them.

Found, never assumed: a controller counts when its hierarchy is mounted and our subtree could be made in it.
Everything of ours lies below `skerry/<owner>`, where `owner` is the node's own mark; that directory bounds the
node as a whole, each instance has its own below: one that is ended must not take its successor along. The keeper joins, asks and removes them (`keeper.groups`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from skerry.kit.errors import Transient
from skerry.wire.workload import Resources

Controller = Literal["cpu", "memory", "pids"]
CONTROLLERS: tuple[Controller, ...] = ("cpu", "memory", "pids")

TREE = "skerry"


def group_name(workload: str, instance: str) -> str:
    """The name of an instance's groups. No workload has «~» in its name."""
    return f"{workload}~{instance}"


_PERIOD_US = 100_000
_LONGEST_PERIOD_US = 1_000_000
_LEAST_QUOTA_US = 1000

Content = tuple[str, str]
"""A control file's name and what is written into it."""


class Hierarchies(msgspec.Struct, frozen=True):
    """What is mounted: version 1 has a directory for each controller, version 2 one for all."""

    v1: Mapping[Controller, Path]
    v2: Path | None


def mounted(mountinfo: str) -> Hierarchies:
    """Reads /proc/self/mountinfo. What cannot be written is left out."""
    v1: dict[Controller, Path] = {}
    v2: Path | None = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, _, options) = left.split(), right.split(maxsplit=2)
        if "ro" in fields[5].split(",") or "ro" in options.split(","):
            continue
        # The kernel writes blanks and the like as octal numbers.
        path = Path(fields[4].encode().decode("unicode_escape"))
        if kind == "cgroup2" and v2 is None:
            v2 = path
        elif kind == "cgroup":
            for controller in CONTROLLERS:
                if controller in options.split(","):
                    v1.setdefault(controller, path)
    return Hierarchies(v1, v2)


def limited(resources: Resources) -> frozenset[Controller]:
    """The controllers that these limits need."""
    limits: dict[Controller, float | None] = {
        "cpu": resources.cpu,
        "memory": resources.memory,
        "pids": resources.pids,
    }
    return frozenset(name for name, limit in limits.items() if limit is not None)


def contents_v1(controller: Controller, resources: Resources) -> list[Content]:
    """The files of one hierarchy. The last one of memory counts swap too and is not there on every kernel."""
    if controller == "cpu" and resources.cpu is not None:
        quota, period = cpu_quota(resources.cpu)
        return [("cpu.cfs_period_us", str(period)), ("cpu.cfs_quota_us", str(quota))]
    if controller == "memory" and resources.memory is not None:
        limit = str(resources.memory)
        return [("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", limit)]
    if controller == "pids" and resources.pids is not None:
        return [("pids.max", str(resources.pids))]
    return []


def contents_v2(controller: Controller, resources: Resources) -> list[Content]:
    """The files of one controller. The last one of memory is not there on a kernel without swap."""
    if controller == "cpu" and resources.cpu is not None:
        return [("cpu.max", "{} {}".format(*cpu_quota(resources.cpu)))]
    if controller == "memory" and resources.memory is not None:
        return [("memory.max", str(resources.memory)), ("memory.swap.max", "0")]
    if controller == "pids" and resources.pids is not None:
        return [("pids.max", str(resources.pids))]
    return []


_OPTIONAL = frozenset({"memory.memsw.limit_in_bytes", "memory.swap.max"})


def cpu_quota(processors: float) -> tuple[int, int]:
    """(quota, period) in microseconds; the kernel takes no quota below 1 ms."""
    period = _PERIOD_US if processors * _PERIOD_US >= _LEAST_QUOTA_US else _LONGEST_PERIOD_US
    return max(round(processors * period), _LEAST_QUOTA_US), period


class CgroupFiles:
    """The cgroup file system, as far as it is used here. Raises OSError."""

    def make(self, path: Path) -> bool:
        """Makes one directory; False if it was there."""
        try:
            path.mkdir(mode=0o755)
        except FileExistsError:
            return False
        return True

    def write(self, path: Path, text: str) -> None:
        path.write_text(text)

    def read(self, path: Path) -> str:
        return path.read_text()

    def remove(self, path: Path) -> None:
        """Removes a group without processes and groups."""
        path.rmdir()

    def groups(self, path: Path) -> list[Path]:
        """The groups in a group; none if it is not there."""
        return [each for each in path.iterdir() if each.is_dir()] if path.is_dir() else []


class Groups(Protocol):
    """One device's control groups for one node. `version` is for people."""

    version: int

    def available(self) -> frozenset[Controller]:
        """Controllers whose subtree of ours is there, which is made at the first call; `why_not` says the rest."""
        ...

    def why_not(self, controller: Controller) -> str: ...

    def make(self, name: str, resources: Resources) -> list[Path]:
        """The groups of that name, with these limits. Its controllers must be available. Raises Transient."""
        ...

    def existing(self, name: str) -> list[Path]:
        """The groups of that name that are there."""
        ...

    def sweep(self) -> None:
        """Removes groups in which nothing lives any more. A group that is being joined may be among them."""
        ...

    def leave(self) -> None:
        """Removes this node's own directory as well, where nothing is in it; `available` makes it again."""
        ...


class _Tree:
    """What both versions share."""

    version = 0

    def __init__(self, files: CgroupFiles, owner: str) -> None:
        self._files = files
        self._owner = owner
        self._available: frozenset[Controller] | None = None
        self._faults: dict[Controller, str] = {}

    def available(self) -> frozenset[Controller]:
        if self._available is None:
            self._available = frozenset(each for each in CONTROLLERS if self._is_there(each))
        return self._available

    def why_not(self, controller: Controller) -> str:
        self.available()
        return self._faults.get(controller, "")

    def existing(self, name: str) -> list[Path]:
        return [path for top in self._tops() if (path := self._below(top) / name).is_dir()]

    def sweep(self) -> None:
        for top in self._tops():
            for group in self._files.groups(self._below(top)):
                self._remove(group)

    def leave(self) -> None:
        self._available = None
        for top in self._tops():
            if self._below(top).is_dir():
                self._remove(self._below(top))

    def _is_there(self, controller: Controller) -> bool:
        try:
            self._prepare(controller)
        except OSError as error:
            self._faults[controller] = f"{error.filename or 'cgroup'}: {error.strerror}"
            return False
        return True

    def _below(self, top: Path) -> Path:
        return top / TREE / self._owner

    def _write_limits(self, group: Path, contents: list[Content]) -> None:
        for name, text in contents:
            try:
                self._files.write(group / name, text)
            except OSError as error:
                if name not in _OPTIONAL:
                    raise Transient(
                        f"cannot limit it by {group / name}: {error.strerror}"
                    ) from error

    def _make_group(self, group: Path) -> None:
        try:
            self._files.make(group)
        except OSError as error:
            raise Transient(f"cannot make control group {group}: {error.strerror}") from error

    def _remove(self, group: Path) -> None:
        for inner in self._files.groups(group):
            self._remove(inner)
        try:
            self._files.remove(group)
        except OSError:
            return  # somebody is in there

    def _prepare(self, controller: Controller) -> None:
        raise NotImplementedError

    def _tops(self) -> Iterator[Path]:
        raise NotImplementedError


class GroupsV1(_Tree):
    """Implements `Groups`: a hierarchy for each controller."""

    version = 1

    def __init__(self, files: CgroupFiles, owner: str, mounts: Mapping[Controller, Path]) -> None:
        super().__init__(files, owner)
        self._mounts = mounts

    def make(self, name: str, resources: Resources) -> list[Path]:
        made = []
        for controller in sorted(limited(resources)):
            group = self._below(self._mounts[controller]) / name
            self._make_group(group)
            self._write_limits(
                group, _ordered(self._files, group, contents_v1(controller, resources))
            )
            made.append(group)
        return made

    def _prepare(self, controller: Controller) -> None:
        mount = self._mounts.get(controller)
        if mount is None:
            raise FileNotFoundError(0, "not mounted", f"cgroup controller «{controller}»")
        for path in (mount / TREE, self._below(mount)):
            if self._files.make(path) and controller == "memory":
                self._count_what_is_below(path)

    def _count_what_is_below(self, path: Path) -> None:
        """Older kernels do not by themselves, newer ones no longer ask."""
        try:
            self._files.write(path / "memory.use_hierarchy", "1")
        except OSError:
            return

    def _tops(self) -> Iterator[Path]:
        yield from dict.fromkeys(self._mounts.values())


class GroupsV2(_Tree):
    """Implements `Groups`: one hierarchy, whose controllers are handed down level by level."""

    version = 2

    def __init__(self, files: CgroupFiles, owner: str, root: Path) -> None:
        super().__init__(files, owner)
        self._root = root

    def make(self, name: str, resources: Resources) -> list[Path]:
        if not limited(resources):
            return []
        group = self._below(self._root) / name
        self._make_group(group)
        for controller in sorted(limited(resources)):
            self._write_limits(group, contents_v2(controller, resources))
        return [group]

    def _prepare(self, controller: Controller) -> None:
        if controller not in self._files.read(self._root / "cgroup.controllers").split():
            raise FileNotFoundError(0, "not there", f"cgroup controller «{controller}»")
        level = self._root
        for name in (TREE, self._owner, None):
            self._hand_down(level, controller)
            if name is not None:
                level /= name
                self._files.make(level)

    def _hand_down(self, level: Path, controller: Controller) -> None:
        path = level / "cgroup.subtree_control"
        if controller not in self._files.read(path).split():
            self._files.write(path, f"+{controller}")

    def _tops(self) -> Iterator[Path]:
        yield self._root


class NoGroups:
    """Implements `Groups` on a device that has none, or none for us."""

    version = 0

    def available(self) -> frozenset[Controller]:
        return frozenset()

    def why_not(self, controller: Controller) -> str:
        return f"cgroup controller «{controller}»: not mounted, or read-only"

    def make(self, name: str, resources: Resources) -> list[Path]:  # noqa: ARG002 - the protocol's
        return []

    def existing(self, name: str) -> list[Path]:  # noqa: ARG002 - the protocol's
        return []

    def sweep(self) -> None:
        """Nothing is there."""

    def leave(self) -> None:
        """Nothing is there."""


def groups_of(found: Hierarchies, files: CgroupFiles, owner: str) -> Groups:
    """Version 1 where it has the controllers (hybrid systems mount an empty version 2 beside it), else version 2."""
    if found.v1:
        return GroupsV1(files, owner, found.v1)
    if found.v2 is not None:
        return GroupsV2(files, owner, found.v2)
    return NoGroups()


def _ordered(files: CgroupFiles, group: Path, contents: list[Content]) -> list[Content]:
    """Version 1 wants memory ≤ memory and swap at every moment, so a group's limits are raised from the other end."""
    name, text = contents[0]
    if name != "memory.limit_in_bytes":
        return contents
    return contents if int(text) <= int(files.read(group / name)) else contents[::-1]
