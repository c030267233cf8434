"""A cgroup version 2 file system on a temporary directory: its files, and the kernel's rules about them.

For machines whose kernel has bound the controllers to version 1. The rules are those of the kernel's
cgroup-v2 documentation: a group has the files of a controller only when its parent hands it down, processes live
in leaves only, and what a group hands down it must have itself.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from skerry.node.workloads.runtimes.cgroups import CgroupFiles

_CONTROL = {
    "cpu": {"cpu.max": "max 100000"},
    "memory": {"memory.max": "max", "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0"},
    "pids": {"pids.max": "max"},
}


class FakeCgroup2(CgroupFiles):
    """`controllers` are those of the whole machine; `refuse` makes handing one down fail, as without delegation."""

    def __init__(
        self, root: Path, controllers: tuple[str, ...] = ("cpu", "memory", "pids"), refuse: str = ""
    ) -> None:
        self.root = root
        self.refuse = refuse
        self.mountinfo = f"41 31 0:38 / {root} rw,relatime - cgroup2 cgroup2 rw\n"
        root.mkdir()
        self._fill(root, " ".join(controllers))

    def make(self, path: Path) -> bool:
        if not super().make(path):
            return False
        self._fill(path, (path.parent / "cgroup.subtree_control").read_text())
        return True

    def write(self, path: Path, text: str) -> None:
        if not path.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if path.name == "cgroup.subtree_control":
            text = self._handed_down(path, text)
        super().write(path, text)

    def remove(self, path: Path) -> None:
        if self.groups(path) or (path / "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        for file in path.iterdir():
            file.unlink()
        path.rmdir()

    def _handed_down(self, path: Path, text: str) -> str:
        name = text.removeprefix("+")
        group = path.parent
        if name not in (group / "cgroup.controllers").read_text().split():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        busy = group != self.root and (group / "cgroup.procs").read_text()
        if busy or name == self.refuse:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        for each in self.groups(group):
            self._add(each, name)
        return " ".join(sorted({*path.read_text().split(), name}))

    def _fill(self, group: Path, controllers: str) -> None:
        for name in ("cgroup.controllers", "cgroup.subtree_control", "cgroup.procs"):
            (group / name).write_text("")
        for controller in controllers.split():
            self._add(group, controller)

    def _add(self, group: Path, controller: str) -> None:
        known = (group / "cgroup.controllers").read_text().split()
        (group / "cgroup.controllers").write_text(" ".join(sorted({*known, controller})))
        if group != self.root:
            for name, text in _CONTROL[controller].items():
                (group / name).write_text(text)
