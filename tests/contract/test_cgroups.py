"""One suite for control groups of version 1, of this machine's kernel, and of version 2, of a fake tree.

Not run here: version 2 by a kernel. Machines of this class have the controllers bound to version 1.
"""

import os
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from skerry.keeper import groups as keeper
from skerry.kit.errors import Transient
from skerry.node.workloads.runtimes.cgroups import (
    CgroupFiles,
    Groups,
    GroupsV1,
    GroupsV2,
    groups_of,
    mounted,
)
from skerry.testing.fake_cgroup2 import FakeCgroup2
from skerry.wire.workload import Resources

ALL = Resources(cpu=0.5, memory=64 << 20, pids=20)


@dataclass
class Machine:
    """`groups` as this node sees them, and what a kernel would show of a workload."""

    groups: Groups
    owner: str
    files: CgroupFiles
    tops: list[Path]

    def of_ours(self) -> list[Path]:
        return [
            path for top in self.tops for path in self.files.groups(top / "skerry" / self.owner)
        ]

    def limits(self, workload: str) -> dict[str, str]:
        found = {}
        for path in self.of_ours():
            for file in path.iterdir() if path.name == workload else ():
                if file.name in READ:
                    found[READ[file.name]] = " ".join(file.read_text().split())
        return found


READ = {
    "memory.limit_in_bytes": "memory",
    "memory.max": "memory",
    "pids.max": "pids",
    "cpu.cfs_quota_us": "cpu",
    "cpu.max": "cpu",
}


@pytest.fixture(params=["v1", "v2 on a fake tree, not run here by a kernel"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    owner = f"test-{random.getrandbits(64):016x}"
    files = CgroupFiles()
    if request.param == "v1":
        found = mounted(Path("/proc/self/mountinfo").read_text())
        if not found.v1:
            pytest.skip("no control groups of version 1 on this machine")
    else:
        files = FakeCgroup2(tmp_path / "cgroup")
        found = mounted(files.mountinfo)
    made = Machine(groups_of(found, files, owner), owner, files, [*found.v1.values()])
    if not found.v1:
        assert found.v2
        made.tops.append(found.v2)
    yield made
    for path in made.of_ours():
        files.remove(path)
    for top in made.tops:
        if (top / "skerry" / owner).is_dir():
            files.remove(top / "skerry" / owner)


def test_every_controller_is_found_and_explained(machine: Machine) -> None:
    assert machine.groups.available() == {"cpu", "memory", "pids"}
    assert machine.groups.why_not("cpu") == ""
    assert isinstance(machine.groups, (GroupsV1, GroupsV2))


def test_a_workload_gets_the_limits_that_it_asks_for(machine: Machine) -> None:
    assert machine.groups.available()
    made = machine.groups.make("cam", ALL)
    assert made
    assert all(path.is_dir() and path.name == "cam" for path in made)
    limits = machine.limits("cam")
    assert (limits["memory"], limits["pids"]) == (str(64 << 20), "20")
    assert limits["cpu"].split()[0] == "50000"
    assert sorted(machine.groups.existing("cam")) == sorted(made)


def test_only_what_is_limited_is_joined(machine: Machine) -> None:
    assert machine.groups.available()
    made = machine.groups.make("cam", Resources(pids=7))
    assert len(made) == 1
    assert machine.limits("cam")["pids"] == "7"
    assert machine.limits("cam").get("memory") in {None, "max"}


def test_changed_limits_are_written_into_the_same_groups(machine: Machine) -> None:
    assert machine.groups.available()
    for memory in (64 << 20, 128 << 20, 32 << 20):
        machine.groups.make("cam", Resources(memory=memory))
        assert machine.limits("cam")["memory"] == str(memory)


def test_sweeping_takes_what_is_empty_and_ours(machine: Machine) -> None:
    assert machine.groups.available()
    machine.groups.make("cam", ALL)
    foreign = groups_of_another(machine)
    machine.groups.sweep()
    assert machine.groups.existing("cam") == []
    assert foreign.existing("cam") != []
    foreign.sweep()
    for top in machine.tops:
        machine.files.remove(top / "skerry" / f"{machine.owner}-other")


def test_leaving_takes_the_nodes_own_directory_once_nobody_is_in_it(machine: Machine) -> None:
    assert machine.groups.available()
    made = machine.groups.make("cam", Resources(pids=50))[0]
    foreign = groups_of_another(machine)
    if isinstance(machine.groups, GroupsV2):
        (made / "cgroup.procs").write_text("7")
        machine.groups.leave()
        assert machine.groups.existing("cam") == [made]
        (made / "cgroup.procs").write_text("")
    machine.groups.leave()
    assert not [top for top in machine.tops if (top / "skerry" / machine.owner).exists()]
    assert foreign.existing("cam") != []
    foreign.leave()
    assert machine.groups.available() == {"cpu", "memory", "pids"}
    assert machine.groups.make("cam", Resources(pids=50)) == [made]


def groups_of_another(machine: Machine) -> Groups:
    other = f"{machine.owner}-other"
    if isinstance(machine.groups, GroupsV1):
        found = mounted(Path("/proc/self/mountinfo").read_text())
    else:
        found = mounted(machine.files.mountinfo)  # type: ignore[attr-defined]
    foreign = groups_of(found, machine.files, other)
    assert foreign.available()
    foreign.make("cam", ALL)
    return foreign


def test_what_the_keeper_reads(machine: Machine) -> None:
    assert machine.groups.available()
    made = [str(path) for path in machine.groups.make("cam", ALL)]
    assert keeper.members(made) == []
    assert keeper.out_of_memory(made) == 0


def test_a_group_with_somebody_in_it_stays(machine: Machine) -> None:
    assert machine.groups.available()
    made = [str(path) for path in machine.groups.make("cam", Resources(pids=50))]
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        for group in made:
            keeper.join(group)
        os.write(writer, b"in")
        signal.pause()
    try:
        os.read(reader, 2)
        # A fake kernel writes «0» where a real one writes the pid.
        if isinstance(machine.groups, GroupsV1):
            assert keeper.members(made) == [pid]
            assert not keeper.remove(made)
        machine.groups.sweep()
        assert machine.groups.existing("cam") != []
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)
    if isinstance(machine.groups, GroupsV2):
        Path(made[0], "cgroup.procs").write_text("")
    machine.groups.sweep()
    assert machine.groups.existing("cam") == []
    assert keeper.remove(made)


def test_what_is_not_handed_down_is_not_there(tmp_path: Path) -> None:
    files = FakeCgroup2(tmp_path / "cgroup", refuse="memory")
    groups = groups_of(mounted(files.mountinfo), files, "o")
    assert groups.available() == {"cpu", "pids"}
    assert "busy" in groups.why_not("memory")
    bare = FakeCgroup2(tmp_path / "bare", controllers=())
    none = groups_of(mounted(bare.mountinfo), bare, "o")
    assert none.available() == frozenset()
    assert none.why_not("pids") == "cgroup controller «pids»: not there"


def test_a_limit_that_the_kernel_refuses_is_trouble_and_not_silence(tmp_path: Path) -> None:
    files = FakeCgroup2(tmp_path / "cgroup", controllers=("cpu",))
    groups = groups_of(mounted(files.mountinfo), files, "o")
    assert groups.available() == {"cpu"}
    with pytest.raises(Transient, match="cannot limit it by .*pids.max"):
        groups.make("cam", Resources(pids=3))
