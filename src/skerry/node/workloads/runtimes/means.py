"""How a native launch is isolated on this device: makes its control groups and its user, and says what is in force.

All is done before the keeper is asked. What cannot be had is a refusal in strict isolation, and a word in the
status in standard. Loaded by `isolation` when a launch asks for something.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import cached_property
from pathlib import Path

import msgspec
from msgspec.structs import replace

import skerry.keeper
from skerry.kit.errors import Refused, Transient
from skerry.node.ports import ProcessLaunch
from skerry.node.workloads.runtimes.cgroups import (
    CONTROLLERS,
    Groups,
    group_name,
    limited,
)
from skerry.node.workloads.runtimes.confinement import (
    PIDS,
    Powers,
    Surroundings,
    in_words,
    missing_power,
    request_fields,
)
from skerry.node.workloads.runtimes.users import give, open_door, user_of
from skerry.wire.workload import Allow, Resources

_POWERS = Path(skerry.keeper.__file__).with_name("powers.py")


Fields = list[tuple[str, object]]


class Inventory(msgspec.Struct, frozen=True):
    """What there is to isolate workloads with, and what strict isolation lacks (empty: nothing)."""

    words: str
    missing: str


class Means:
    """One device's means; `users` are the numbers for strict workloads."""

    def __init__(self, groups: Groups, data_dir: Path, users: range) -> None:
        self.groups = groups
        self._users = users
        self._choosing = threading.Lock()  # launches are prepared in several threads
        prefixes = dict.fromkeys((Path(sys.prefix), Path(sys.base_prefix), *_source_roots()))
        self._around = Surroundings(data_dir.absolute(), tuple(prefixes))

    @cached_property
    def powers(self) -> Powers:
        """What can be had here at all; takes some 20 ms, once."""
        return find_powers()

    def inventory(self) -> Inventory:
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
        return Inventory(", ".join(parts), self._missing(Resources(), Allow()))

    def prepare(self, launch: ProcessLaunch) -> tuple[Fields, str]:
        """Fields for the keeper's request, and words for the status. Raises Refused or Transient."""
        if launch.strict:
            return self._strict(launch)
        resources, limits = self._within_reach(launch.resources)
        fields: Fields = [
            *(
                ("cgroup", path)
                for path in self.groups.make(
                    group_name(launch.workload, launch.instance), resources
                )
            ),
            *_rlimits(launch.resources, resources),
        ]
        return fields, f"standard: {limits}"

    def existing(self, workload: str, instance: str) -> list[Path]:
        """The control groups of an instance that are there."""
        return self.groups.existing(group_name(workload, instance))

    def _strict(self, launch: ProcessLaunch) -> tuple[Fields, str]:
        resources = _bounded(launch.resources)
        launch = replace(launch, resources=resources)
        missing = self._missing(resources, launch.allow)
        if missing:
            raise Refused(
                f"cannot start workload «{launch.workload}»: isolation «strict» cannot be had: {missing}."
            )
        try:
            with self._choosing:
                user = user_of(launch.home, self._users)
            confined = request_fields(launch, user, self._around)
        except (Refused, Transient) as error:
            raise type(error)(f"cannot start workload «{launch.workload}»: {error}") from error
        open_door(launch.socket, user)
        for directory in launch.given:
            give(directory, user)
        if launch.secrets is not None:
            give(launch.secrets, user)
        groups = self.groups.make(group_name(launch.workload, launch.instance), resources)
        fields: Fields = [*(("cgroup", path) for path in groups), *confined]
        words = in_words(launch, user, self._limits_in_words(resources), self.powers)
        return fields, words

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


def _rlimits(asked: Resources, reach: Resources) -> Fields:
    """Without a memory group, each process's data segment is bounded: less than was asked, and better than nothing.

    Not its address space: that counts mapped libraries and thread stacks too.
    """
    if asked.memory is None or reach.memory is not None:
        return []
    return [("limit", f"RLIMIT_DATA={asked.memory}")]


def _source_roots() -> list[Path]:
    """Where our own package lies, which the interpreter's directories need not contain."""
    return [Path(os.path.realpath(skerry.keeper.__file__)).parents[2]]
