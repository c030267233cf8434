"""Decisions about isolation: what is mounted, which limits, which system calls, what a spec may grant."""

import struct
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.workload_cases import wish

from skerry.core.specs import check_spec
from skerry.keeper.landlock import ruleset
from skerry.keeper.syscall_filter import Instruction, program
from skerry.kit.errors import InvalidInput, Refused
from skerry.node.contracts.native import NativeContract
from skerry.node.node_settings import IsolationSection
from skerry.node.ports import ProcessLaunch
from skerry.node.settings import find_settings
from skerry.node.workloads.runtimes.cgroups import contents_v1, contents_v2, cpu_quota, mounted
from skerry.node.workloads.runtimes.confinement import (
    Powers,
    Surroundings,
    in_words,
    request_fields,
)
from skerry.node.workloads.runtimes.users import pick
from skerry.testing.no_secrets import no_secrets, no_secrets_at
from skerry.wire.workload import Allow, ContainerSpec, Ready, Resources, WasmSpec

V1 = """\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/my\\040pids rw,relatime shared:9 - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_what_is_mounted_and_writable_is_found() -> None:
    found = mounted(V1)
    assert found.v1 == {"cpu": Path("/sys/fs/cgroup/cpu,cpuacct"), "pids": Path("/sys/fs/cgroup/my pids")}  # fmt: skip
    assert found.v2 == Path("/sys/fs/cgroup/unified")
    assert mounted("") == mounted("22 27 0:21 / /proc rw,relatime - proc proc rw\n")


@pytest.mark.parametrize(
    ("processors", "expected"),
    [(0.5, (50_000, 100_000)), (4.0, (400_000, 100_000)), (0.005, (5000, 1_000_000)), (0.001, (1000, 1_000_000))],
)  # fmt: skip
def test_a_quota_that_the_kernel_takes(processors: float, expected: tuple[int, int]) -> None:
    assert cpu_quota(processors) == expected


def test_the_same_limits_in_both_versions() -> None:
    limits = Resources(cpu=0.5, memory=1 << 20, pids=3)
    assert contents_v1("pids", limits) == contents_v2("pids", limits) == [("pids.max", "3")]
    assert contents_v2("cpu", limits) == [("cpu.max", "50000 100000")]
    assert contents_v2("memory", limits) == [("memory.max", "1048576"), ("memory.swap.max", "0")]
    assert contents_v1("cpu", limits)[-1] == ("cpu.cfs_quota_us", "50000")
    assert [name for name, _ in contents_v1("memory", limits)] == ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]  # fmt: skip
    for controller in ("cpu", "memory", "pids"):
        assert contents_v1(controller, Resources()) == contents_v2(controller, Resources()) == []  # type: ignore[arg-type]


def test_users_are_never_shared() -> None:
    assert pick(range(10, 13), {10, 12}) == 11
    assert pick(range(10, 12), {10, 11}) is None


def judge(code: list[Instruction], arch: int, number: int, *arguments: int) -> int:
    """What the kernel would answer: this filter, run by a few lines."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, arch, 0, *padded)
    accumulator = at = 0
    while True:
        kind, yes, no, value = code[at]
        at += 1
        match kind:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x06:
                return value
            case 0x15 | 0x35 | 0x45:
                outcome = {
                    0x15: accumulator == value,
                    0x35: accumulator >= value,
                    0x45: accumulator & value != 0,
                }
                at += yes if outcome[kind] else no


ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x50001, 0x50026
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {
    # name: numbers on x86_64 and aarch64, from the kernel's tables
    "read": (0, 63, ALLOW), "execve": (59, 221, ALLOW), "openat": (257, 56, ALLOW), "futex": (202, 98, ALLOW),
    "ptrace": (101, 117, EPERM), "mount": (165, 40, EPERM), "unshare": (272, 97, EPERM), "setns": (308, 268, EPERM),
    "keyctl": (250, 219, EPERM), "bpf": (321, 280, EPERM), "perf_event_open": (298, 241, EPERM),
    "kexec_load": (246, 104, EPERM), "finit_module": (313, 273, EPERM), "io_uring_setup": (425, 425, EPERM),
    "clone3": (435, 435, ENOSYS),
}  # fmt: skip


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("tcp_only", [True, False])
def test_the_filter_answers_each_call(machine: str, *, tcp_only: bool) -> None:
    code, arch = program(machine, tcp_only=tcp_only), MACHINES[machine]
    index = 0 if machine == "x86_64" else 1
    for name, row in CALLS.items():
        assert judge(code, arch, row[index]) == row[2], name
    clone, socket = ((56, 41), (220, 198))[index]
    assert judge(code, arch, clone, 17) == ALLOW
    assert judge(code, arch, clone, 17 | 0x10000000) == EPERM
    assert judge(code, 0x40000003, 1) == ENOSYS
    assert judge(code, arch, socket, 1, 2) == ALLOW
    assert judge(code, arch, socket, 2, 1 | 0o2000000, 6) == ALLOW
    assert judge(code, arch, socket, 10, 1, 0) == ALLOW
    assert judge(code, arch, socket, 2, 2, 17) == (EPERM if tcp_only else ALLOW)
    assert judge(code, arch, socket, 2, 1, 262) == (EPERM if tcp_only else ALLOW)
    assert judge(code, arch, socket, 16, 3) == (EPERM if tcp_only else ALLOW)
    for family in (17, 38, 40, 31):  # packet, alg, vsock, bluetooth
        assert judge(code, arch, socket, family, 3) == EPERM
    assert len(code) < 4096
    assert all(step[1] < 256 and step[2] < 256 for step in code)


def test_x32_calls_are_no_way_around() -> None:
    assert judge(program("x86_64", tcp_only=False), MACHINES["x86_64"], 0x40000000 | 101) == ENOSYS


@pytest.mark.parametrize(("version", "words"), [(1, 1), (3, 1), (4, 2), (5, 2), (6, 3), (9, 3)])
def test_landlock_is_asked_in_the_form_of_its_version(version: int, words: int) -> None:
    attributes = struct.unpack(f"{words}Q", ruleset(version, ports=True))
    assert attributes[0] & 0x1FFF == 0x1FFF
    assert attributes[1:2] == ((3,) if version >= 4 else ())
    assert struct.unpack_from("Q", ruleset(version, ports=False)[8:] + bytes(8))[0] == 0


@pytest.fixture
def contract(tmp_path: Path) -> NativeContract:
    return NativeContract(
        tmp_path / "data", tmp_path / "run", "rock", "/venv/bin/python", no_secrets(), no_secrets_at
    )


def strict(contract: NativeContract, **allow: object) -> ProcessLaunch:
    spec = wish("cam", isolation="strict", allow=Allow(**allow))  # type: ignore[arg-type]
    launch = contract.launch_for(spec, "i1")
    assert isinstance(launch, ProcessLaunch)
    return launch


def test_the_status_says_what_is_in_force(contract: NativeContract) -> None:
    powers = Powers(root=True, landlock=7, seccomp=True)
    assert in_words(strict(contract), 64003, "cgroup v1 (pids)", powers) == (
        "strict: user 64003, cgroup v1 (pids), own files, landlock 7, seccomp, no network"
    )
    only = in_words(strict(contract, connect=[443, 53]), 64003, "cgroup v2 (pids)", powers)
    assert only.endswith("TCP to 443, 53 only")
    whole = in_words(strict(contract, network=True), 64003, "", Powers(root=True, seccomp=True))
    assert whole == "strict: user 64003, own files, no landlock, seccomp, the device's network"


def test_nothing_of_the_nodes_own_is_granted(contract: NativeContract) -> None:
    around = Surroundings(contract.data_dir, (Path("/venv"),))
    fields = request_fields(strict(contract, read=["/srv"]), 64003, around)
    assert ("show", "/srv") in fields
    assert ("give", str(contract.data_dir / "workloads/cam")) in fields
    assert ("network", "own") in fields
    models = replace(strict(contract), models=contract.data_dir / "models/views/v")
    shown = request_fields(models, 64003, around)
    assert ("show", str(contract.data_dir / "models/views/v")) in shown
    for path in (contract.data_dir, contract.data_dir / "node.secret", contract.data_dir.parent):
        with pytest.raises(Refused, match="the node's own data"):
            request_fields(strict(contract, read=[str(path)]), 64003, around)
        wasm = contract.launch_for(wish("cam", **module(f"{path}:/d")), "i1")
        assert isinstance(wasm, ProcessLaunch)
        with pytest.raises(Refused, match=f"^wasm.directories cannot name {path}: the node's own"):
            request_fields(wasm, 64003, around)


def module(*directories: str) -> dict[str, object]:
    """A spec's fields."""
    wasm = WasmSpec(module="m.wasm", directories=list(directories))
    return {"isolation": "strict", "runtime": "wasm", "process": None, "wasm": wasm}


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"allow": Allow(network=True)}, "allow has no effect here: it belongs to isolation: strict"),
        ({"isolation": "strict", "allow": Allow(read=["srv"])}, "allow.read[0]: «srv» is not an absolute path"),
        ({"isolation": "strict", "allow": Allow(write=["/srv/../etc"])}, "allow.write[0]: «/srv/../etc» is not exact"),
        ({"isolation": "strict", "allow": Allow(read=["/a\nb"])}, "allow.read[0]: «/a�b» holds a control character"),
        ({"isolation": "strict", "allow": Allow(write=["/a\u202eb"])}, "allow.write[0]: «/a�b» holds a control character"),
        ({"isolation": "strict", "allow": Allow(read=["/"])}, "allow.read[0]: «/» is not exact"),
        ({"isolation": "strict", "allow": Allow(read=["/a"], write=["/a"])}, "is in allow.read too"),
        ({"isolation": "strict", "allow": Allow(read=["/a/b"], write=["/a"])}, "«/a/b» lies in «/a»"),
        ({"isolation": "strict", "allow": Allow(connect=[0])}, "allow.connect[0]: 0 is no TCP port"),
        ({"isolation": "strict", "allow": Allow(connect=[80], network=True)}, "grants every port already"),
        ({"isolation": "strict", "ready": Ready(exec=["true"])}, "ready.exec runs beside the workload"),
        ({"isolation": "strict", "ready": Ready(tcp=80)}, "ready.tcp needs a network"),
        (
            {"isolation": "strict", "runtime": "container", "process": None, "container": ContainerSpec(image="x"),
             "allow": Allow(network=True)},
            "a container is given things by its own section",
        ),
        (
            module("/srv/../root:/d"),
            "wasm.directories[0]: «/srv/../root» is not exact",
        ),
        (
            module("/srv/d:/d:ro") | {"allow": Allow(write=["/srv"])},
            "wasm.directories[0]: «/srv/d» lies in «/srv», which allow.write grants already",
        ),
        (
            module("/srv/d:/d", "/srv/d:/e:ro"),
            "wasm.directories[0]: «/srv/d» is in wasm.directories too: remove one",
        ),
    ],
)  # fmt: skip
def test_a_grant_is_exact_and_has_a_meaning(spec: dict[str, object], problem: str) -> None:
    assert any(problem in sentence for sentence in check_spec(wish("a", **spec).spec))


def test_what_is_sensible_passes() -> None:
    allow = Allow(read=["/srv/models"], write=["/srv/out"], connect=[443])
    assert check_spec(wish("a", isolation="strict", allow=allow, ready=Ready(value="x")).spec) == []
    network = Allow(network=True)
    assert check_spec(wish("a", isolation="strict", allow=network, ready=Ready(tcp=80)).spec) == []
    assert check_spec(wish("a", **module("/srv/d/:/d", "/srv/models:/m:ro")).spec) == []


def test_the_range_of_users_is_a_setting() -> None:
    assert IsolationSection("64000-64002").range == range(64000, 64003)
    for wrong in ("64000", "5-10", "65000-64000", "a-b"):
        with pytest.raises(InvalidInput, match="not a range of user numbers"):
            find_settings(options={"isolation.users": wrong}, environment={})
