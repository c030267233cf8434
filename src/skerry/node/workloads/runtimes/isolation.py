"""Isolation of native workloads: makes a launch's control groups and user, and says what is really in force.

A launch without limits in standard isolation costs nothing here. Everything else is done before the keeper is
asked: what cannot be had is a refusal in strict isolation and a word in the status in standard.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import skerry.keeper
from skerry.kit.errors import Refused, Transient
from skerry.node.ports import ProcessLaunch
from skerry.node.workloads.runtimes.cgroups import (
    CONTROLLERS,
    CgroupFiles,
    Groups,
    groups_of,
    limited,
    mounted,
)
from skerry.node.workloads.runtimes.confinement import (
    PIDS,
    Powers,
    Surroundings,
    in_words,
    missing_power,
    request_fields,
)
from skerry.node.workloads.runtimes.users import open_door, user_of
from skerry.wire.workload import Allow, Resources

_POWERS = Path(skerry.keeper.__file__).with_name("powers.py")


@dataclass(frozen=True)
class Prepared:
    """How a launch is isolated: fields for the keeper's request, and words for the status."""

    fields: tuple[tuple[str, object], ...]
    words: str


PLAIN = Prepared((), "standard")


@dataclass(frozen=True)
class Means:
    """What there is to isolate workloads with, and what strict isolation lacks (empty: nothing)."""

    words: str
    missing: str


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
        self._users = users
        self._files = files or CgroupFiles()
        self._mountinfo = mountinfo
        prefixes = dict.fromkeys((Path(sys.prefix), Path(sys.base_prefix), *_source_roots()))
        self._around = Surroundings(data_dir.absolute(), tuple(prefixes))

    @cached_property
    def groups(self) -> Groups:
        """This node's control groups."""
        return groups_of(mounted(self._mountinfo.read_text()), self._files, self._owner)

    @cached_property
    def powers(self) -> Powers:
        """What can be had here at all; takes some 20 ms, once."""
        return find_powers()

    async def prepare(self, launch: ProcessLaunch) -> Prepared:
        """Makes what the launch needs; repeating it is harmless. Raises Refused or Transient."""
        if not launch.strict and not limited(launch.resources):
            return PLAIN
        return await asyncio.to_thread(self._prepare, launch)

    def existing(self, workload: str) -> list[tuple[str, object]]:
        """The control groups that a running instance may be in, for the keeper that takes it over."""
        return [("cgroup", path) for path in self.groups.existing(workload)]

    def sweep(self) -> None:
        """Removes what instances left behind whose keeper could not."""
        self.groups.sweep()

    def means(self) -> Means:
        """What this device can do, for `skerry doctor`."""
        names = [name for name in CONTROLLERS if name in self.groups.available()]
        cgroups = f"cgroup v{self.groups.version} ({', '.join(names)})" if names else "no cgroups"
        powers = self.powers
        parts = [
            cgroups,
            f"landlock {powers.landlock}" if powers.landlock else "no landlock",
            "seccomp" if powers.seccomp else "no seccomp",
            "no namespaces" if powers.namespaces else "namespaces",
            "root" if powers.root else "not root",
        ]
        return Means(", ".join(parts), self._missing(Resources(), Allow()))

    def _prepare(self, launch: ProcessLaunch) -> Prepared:
        if launch.strict:
            return self._strict(launch)
        resources, limits = self._within_reach(launch.resources)
        fields = [
            *(("cgroup", path) for path in self.groups.make(launch.workload, resources)),
            *_rlimits(launch.resources, resources),
        ]
        return Prepared(tuple(fields), f"standard: {limits}")

    def _strict(self, launch: ProcessLaunch) -> Prepared:
        resources = _bounded(launch.resources)
        launch = replace(launch, resources=resources)
        missing = self._missing(resources, launch.allow)
        if missing:
            raise Refused(
                f"cannot start workload «{launch.workload}»: isolation «strict» cannot be had: {missing}."
            )
        try:
            user = user_of(launch.home, self._users)
            confined = request_fields(launch, user, self._around)
        except (Refused, Transient) as error:
            raise type(error)(f"cannot start workload «{launch.workload}»: {error}") from error
        open_door(launch.socket, user)
        groups = self.groups.make(launch.workload, resources)
        fields = [*(("cgroup", path) for path in groups), *confined]
        words = in_words(launch, user, self._limits_in_words(resources), self.powers)
        return Prepared(tuple(fields), words)

    def _missing(self, resources: Resources, allow: Allow) -> str:
        """What strict isolation lacks; empty when it can be had."""
        missing = missing_power(self.powers, allow)
        faults = (self.groups.why_not(each) for each in sorted(limited(_bounded(resources))))
        return missing or next(filter(None, faults), "")

    def _within_reach(self, resources: Resources) -> tuple[Resources, str]:
        """The limits that control groups can hold here, and words that tell of those that they cannot."""
        there = self.groups.available()
        reach = Resources(
            cpu=resources.cpu if "cpu" in there else None,
            memory=resources.memory if "memory" in there else None,
            pids=resources.pids if "pids" in there else None,
        )
        without = sorted(limited(resources) - limited(reach))
        words = [self._limits_in_words(reach)]
        if "memory" in without:
            words.append("memory of each process by rlimit")
        words += [f"no limit of {name}" for name in without if name != "memory"]
        return reach, ", ".join(filter(None, words))

    def _limits_in_words(self, resources: Resources) -> str:
        names = [name for name in CONTROLLERS if name in limited(resources)]
        return f"cgroup v{self.groups.version} ({', '.join(names)})" if names else ""


def find_powers() -> Powers:
    """Asks a process that tries. Raises Transient when it cannot be asked."""
    words = [sys.executable, "-I", "-S", str(_POWERS)]
    try:
        asked = subprocess.run(
            words, env={}, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Transient(f"cannot find out how workloads can be isolated here: {error}") from error
    found = dict(line.split("=", 1) for line in asked.stdout.splitlines())
    return Powers(
        root=found["root"] == "1",
        namespaces=found["namespaces"],
        landlock=int(found["landlock"]),
        seccomp=found["seccomp"] == "1",
        machine_known=found["machine"] == "1",
    )


def _bounded(resources: Resources) -> Resources:
    """A strict workload always has a number of processes that it cannot exceed."""
    return Resources(cpu=resources.cpu, memory=resources.memory, pids=resources.pids or PIDS)


def _rlimits(asked: Resources, reach: Resources) -> list[tuple[str, object]]:
    """Without a memory group, each process's data segment is bounded: less than was asked, and better than nothing.

    Not its address space: that counts mapped libraries and thread stacks too.
    """
    if asked.memory is None or reach.memory is not None:
        return []
    return [("limit", f"RLIMIT_DATA={asked.memory}")]


def _source_roots() -> list[Path]:
    """Where our own package lies, which the interpreter's directories need not contain."""
    return [Path(os.path.realpath(skerry.keeper.__file__)).parents[2]]
