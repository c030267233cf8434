"""What a strict container is made of, what is refused, what is in force; and how its end for want of memory is seen."""

import json
from pathlib import Path
from typing import Any

import pytest

from skerry.core.specs import check_spec
from skerry.keeper.denied_calls import DENIED
from skerry.keeper.log_rules import LogRules
from skerry.kit.errors import Refused
from skerry.node.ports import ContainerLaunch
from skerry.node.workloads.runtimes.containers.answers import CdiDevice, EngineInfo
from skerry.node.workloads.runtimes.containers.creation import Findings, creation
from skerry.node.workloads.runtimes.containers.gpus import gpu_request
from skerry.node.workloads.runtimes.containers.memory import counter_file, oom_counter
from skerry.node.workloads.runtimes.containers.seccomp import profile_for
from skerry.node.workloads.runtimes.containers.strict import exposed, in_force, user_of
from skerry.wire.workload import ContainerSpec, Isolation, Resources, WorkloadSpec


def launch(*, strict: bool, pids: int | None = None, **fields: object) -> ContainerLaunch:
    return ContainerLaunch(
        instance="i",
        workload="cam",
        environment={},
        strict=strict,
        log=Path("/log"),
        log_rules=LogRules(1000, 2),
        spec=ContainerSpec(image="cam:1", **fields),  # type: ignore[arg-type]  # a test's keywords
        resources=Resources(pids=pids),
        socket=Path("/r/c/cam/sock"),
    )


def host(of: ContainerLaunch, found: Findings | None = None) -> dict[str, object]:
    made = creation("mark", of, found or Findings())["HostConfig"]
    assert isinstance(made, dict)
    return made


def test_strict_takes_everything_away_that_the_spec_does_not_name() -> None:
    made = host(launch(strict=True, cap_drop=["CHOWN"]))
    assert made["CapDrop"] == ["ALL"]
    assert made["CapAdd"] == []
    assert made["SecurityOpt"] == ["no-new-privileges"]
    assert (made["ReadonlyRootfs"], made["Privileged"]) == (True, False)
    assert (made["NetworkMode"], made["PidsLimit"]) == ("none", 256)
    options = host(launch(strict=True), Findings(seccomp="/p"))["SecurityOpt"]
    assert options == ["no-new-privileges", "seccomp=/p"]
    assert ",exec," in made["Tmpfs"]["/tmp"]  # type: ignore[index]  # noqa: S108 - the container's
    assert made["Binds"] == ["/r/c/cam:/run/skerry"]
    assert made["Devices"] == []


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        ({"network": "host"}, ["NET_RAW"]),
        ({"network": "host", "cap_drop": ["CHOWN"]}, ["CHOWN", "NET_RAW"]),
        ({"network": "host", "cap_drop": ["cap_net_raw"]}, ["cap_net_raw"]),
        ({"network": "host", "cap_drop": ["ALL"]}, ["ALL"]),
        ({"network": "host", "cap_add": ["CAP_NET_RAW"]}, []),
        ({"network": "host", "cap_add": ["ALL"]}, []),
        ({"network": "host", "privileged": True}, []),
        ({"network": "robots"}, []),
        ({}, []),
    ],
)
def test_in_the_devices_network_only_who_asks_for_it_hears_the_others(
    fields: dict[str, object], dropped: list[str]
) -> None:
    assert host(launch(strict=False, **fields))["CapDrop"] == dropped


PODMANS_OWN = Path("/usr/share/containers/seccomp.json")


@pytest.mark.parametrize("machine", ["amd64", "arm64"])
def test_the_profile_denies_what_strict_processes_are_denied(machine: str) -> None:
    allowed = always_allowed(profile_for(machine))
    assert {"openat", "execve", "futex", "mmap"} <= allowed
    assert not allowed & (DENIED | {"clone", "clone3", "socket", "personality"})


@pytest.mark.skipif(not PODMANS_OWN.exists(), reason="Podman is not here")
def test_the_profile_is_nowhere_wider_than_podmans() -> None:
    assert always_allowed(profile_for("amd64")) <= always_allowed(
        json.loads(PODMANS_OWN.read_text())
    )


def always_allowed(profile: dict[str, Any]) -> set[str]:
    """What a container without capabilities may call with any arguments."""
    return {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        if "caps" not in rule.get("includes", {})
        for name in rule["names"]
    }


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ((16, 3, 0), True),
        ((16, 3, 15), True),
        ((16, 3, 9), False),
        ((16, 3, 1 << 32 | 9), False),
        ((16, 3, 16), False),
        ((1 << 32 | 16, 3, 9), False),
        ((2, 1, 6), True),
        ((40, 1, 0), False),
    ],
)
def test_sockets_that_the_profile_allows(arguments: tuple[int, ...], *, allowed: bool) -> None:
    rules = [rule for rule in profile_for("amd64")["syscalls"] if rule["names"] == ["socket"]]  # type: ignore[attr-defined]
    tests = [rule["args"] for rule in rules]
    assert {test["op"] for rule in tests for test in rule} == {"SCMP_CMP_EQ"}
    fits = [all(arguments[one["index"]] == one["value"] for one in rule) for rule in tests]
    assert any(fits) == allowed


def test_strict_leaves_what_the_spec_names() -> None:
    made = host(launch(strict=True, pids=9, network="lab", volumes=["/srv/a:/a"]))
    assert (made["NetworkMode"], made["PidsLimit"]) == ("lab", 9)
    assert made["Binds"] == ["/r/c/cam:/run/skerry", "/srv/a:/a"]
    assert "SecurityOpt" not in host(launch(strict=False))


@pytest.mark.parametrize(
    ("wanted", "image", "user"),
    [
        ("1000:1000", "app", "1000:1000"),
        (None, "", "65534:65534"),
        (None, "root", "65534:65534"),
        (None, "0:0", "65534:65534"),
        (None, "app", "65534:65534"),
        (None, "1000:10", "1000:10"),
        ("1000", "", "1000:1000"),
        (None, "1000", "1000:1000"),
        (None, "1000:0", "1000:1000"),
        (None, "1000:root", "65534:65534"),
    ],
)
def test_nobody_is_root(wanted: str | None, image: str, user: str) -> None:
    assert user_of(wanted, image) == user


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"privileged": True}, "privileged"),
        ({"cap_add": ["NET_ADMIN"]}, "cap_add"),
        ({"network": "host"}, "network"),
        ({"user": "root"}, "user"),
        ({"user": "0"}, "user"),
        ({"user": "1000:0"}, "user"),
    ],
)
def test_a_spec_that_would_undo_it_is_refused(fields: dict[str, object], field: str) -> None:
    inside = ContainerSpec(image="cam:1", **fields)  # type: ignore[arg-type]  # a test's keywords
    spec = WorkloadSpec(name="cam", runtime="container", container=inside, isolation="strict")
    (problem,) = check_spec(spec)
    assert problem.startswith(f"container.{field}: ")
    assert check_spec(WorkloadSpec(name="cam", runtime="container", container=inside)) == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"network": "ns:/proc/self/ns/net"}, "network: «ns:/proc/self/ns/net» is not understood: write host, none,"),
        ({"network": "slirp4netns:allow_host_loopback=true"}, "network: «slirp4netns:"),
        ({"network": "container:other"}, "network: «container:other» is not understood"),
        ({"network": "private:"}, "network: «private:» is not understood"),
        ({"network": ""}, "network: «» is not understood"),
        ({"network": "lab\n"}, "network: «lab"),
        ({"user": "4294967295:1"}, "user: «4294967295:1» is out of range: 0 to 2147483647"),
        ({"user": "1:2147483648"}, "user: «1:2147483648» is out of range"),
        ({"user": "-1"}, "user: «-1» is out of range"),
        ({"image": "-v:1"}, "image: «-v:1» is not an image"),
        ({"volumes": ["/a:/x", "bb:/x/"]}, "volumes[1]: «bb:/x/»: container.volumes[0] is at /x/ already"),
        ({"volumes": ["/a://run/skerry"]}, "volumes[0]: «/a://run/skerry»: //run/skerry is not free"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("isolation", ["standard", "strict"])
def test_what_no_container_is_given(
    fields: dict[str, object], problem: str, isolation: Isolation
) -> None:
    inside = ContainerSpec(**{"image": "cam:1"} | fields)  # type: ignore[arg-type]  # a test's keywords
    spec = WorkloadSpec(name="cam", runtime="container", container=inside, isolation=isolation)
    sentence, *_ = check_spec(spec)
    assert sentence.startswith(f"container.{problem}")


def test_a_network_by_its_name() -> None:
    for name in ("none", "bridge", "my_lab.2-b"):
        inside = ContainerSpec(image="cam:1", network=name)
        spec = WorkloadSpec(name="c", runtime="container", container=inside, isolation="strict")
        assert check_spec(spec) == []


def test_what_is_in_force() -> None:
    assert in_force(launch(strict=False)) == ("container", "seccomp")
    assert in_force(launch(strict=False, privileged=True)) == ()
    everything = in_force(launch(strict=True))
    assert {"not root", "no capabilities", "no network", "read-only root"} <= set(everything)
    assert "no network" not in in_force(launch(strict=True, network="lab"))


def test_volumes_that_show_what_is_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "other").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for volume in ("/", str(tmp_path), str(data), f"{data}/models", f"{tmp_path}/link"):
        assert exposed([f"{volume}:/x"], [data]) == volume
    volumes = [f"{tmp_path}/other:/x:ro", f"{tmp_path}/loop:/l", "named:/y"]
    assert exposed(volumes, [data]) is None


def test_gpus_by_what_the_engine_reports() -> None:
    runtime = EngineInfo(runtimes={"runc": {}, "nvidia": {}})
    request = {"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}
    assert gpu_request(runtime, "all") == request
    assert gpu_request(runtime, 2)["Count"] == 2
    names = ("nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=all")
    described = EngineInfo(discovered_devices=[CdiDevice(name) for name in names])
    assert gpu_request(described, "all") == {"Driver": "cdi", "DeviceIDs": [names[2]]}
    assert gpu_request(described, 1) == {"Driver": "cdi", "DeviceIDs": [names[0]]}
    with pytest.raises(Refused, match="«container.gpus» is 3, .* reports 2 GPUs"):
        gpu_request(described, 3)
    with pytest.raises(Refused, match="no NVIDIA runtime"):
        gpu_request(EngineInfo(runtimes={"runc": {}}), "all")
    made = host(launch(strict=False, gpus="all"), Findings(gpus=request))
    assert made["DeviceRequests"] == [request]


V1 = "12:pids:/a\n7:memory:/docker/abc\n0::/\n"
V2 = "0::/system.slice/docker-abc.scope\n"


def test_where_the_kernel_counts_what_it_has_killed() -> None:
    root = Path("/c")
    assert counter_file(V1, root) == root / "memory/docker/abc/memory.oom_control"
    assert counter_file(V2, root) == root / "system.slice/docker-abc.scope/memory.events"
    assert counter_file("", root) is None


@pytest.mark.parametrize(
    ("listed", "name"),
    [(V1, "memory/docker/abc/memory.oom_control"), (V2, "system.slice/docker-abc.scope/memory.events")],
    ids=["v1", "v2"],
)  # fmt: skip
def test_a_kill_for_want_of_memory_is_counted(tmp_path: Path, listed: str, name: str) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    (proc / "7").mkdir(parents=True)
    (proc / "7/cgroup").write_text(listed)
    assert oom_counter(7, proc, groups) is None
    file = groups / name
    file.parent.mkdir(parents=True)
    file.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    counter = oom_counter(7, proc, groups)
    assert counter is not None
    assert not counter.has_risen()
    file.write_text("low 0\noom_kill 4\n")
    assert counter.has_risen()
    file.unlink()
    assert not counter.has_risen()


@pytest.mark.parametrize(
    "target", ["/run/skerry", "/run/skerry/", "/run/skerry-models", "/", "/x/.."]
)
def test_places_of_the_nodes_own_are_not_given_to_volumes(target: str) -> None:
    inside = ContainerSpec(image="cam:1", volumes=["/srv:/data:ro", f"/srv:{target}"])
    (sentence,) = check_spec(WorkloadSpec(name="cam", runtime="container", container=inside))
    assert sentence.startswith("container.volumes[1]: «/srv:")
