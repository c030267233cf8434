"""What a contract gives a container besides its spec: how it is merged, and what of it is refused."""

from pathlib import Path
from typing import Any

import pytest

from skerry.keeper.log_rules import LogRules
from skerry.kit.errors import Refused
from skerry.node.ports import ContainerExtras, ContainerLaunch
from skerry.node.workloads.runtimes.containers.creation import Findings, container_name, creation
from skerry.node.workloads.runtimes.containers.extras import (
    check_extras,
    sources,
)
from skerry.node.workloads.runtimes.containers.strict import described
from skerry.wire.workload import ContainerSpec, Resources


def launch(extras: ContainerExtras, *, strict: bool = False, **fields: object) -> ContainerLaunch:
    return ContainerLaunch(
        instance="i1",
        workload="w",
        environment={"A": "1"},
        strict=strict,
        log=Path("/log"),
        log_rules=LogRules(1000, 2),
        spec=ContainerSpec(image="i:1", **fields),  # type: ignore[arg-type]  # a test's keywords
        resources=Resources(cpu=2.0, memory=64 << 20, open_files=100),
        socket=Path("/r/c/w/sock"),
        extras=extras,
    )


def made(extras: ContainerExtras, **fields: object) -> tuple[Any, Any]:
    body: Any = creation("mark", launch(extras, **fields), Findings())
    return body, body["HostConfig"]


def test_lists_come_after_the_specs_own_and_the_rest_is_replaced() -> None:
    more = {
        "Binds": ["/twin.json:/app/twin.json"],
        "Devices": [{"PathOnHost": "/dev/b"}],
        "NetworkMode": "host",
        "IpcMode": "host",
        "PidMode": "host",
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "Tmpfs": {"/run": "size=1m"},
        "Init": True,
        "RestartPolicy": {"Name": "unless-stopped"},
    }
    body, host = made(
        ContainerExtras(host=more, config={"StopTimeout": 5, "Hostname": "h"}),
        network="none",
        volumes=["/a:/a"],
        devices=["/dev/a"],
    )
    assert host["Binds"] == ["/r/c/w:/run/skerry", "/a:/a", "/twin.json:/app/twin.json"]
    assert [one["PathOnHost"] for one in host["Devices"]] == ["/dev/a", "/dev/b"]
    for name in more.keys() - {"Binds", "Devices"}:
        assert host[name] == more[name]
    assert (body["StopTimeout"], body["Hostname"], body["Env"]) == (5, "h", ["A=1"])
    assert host["LogConfig"]["Type"] == "json-file"


def test_limits_are_said_in_one_way() -> None:
    _, host = made(
        ContainerExtras(
            host={
                "CpuPeriod": 100_000,
                "CpuQuota": 150_000,
                "Memory": 512 << 20,
                "Ulimits": [
                    {"Name": "nofile", "Soft": 9, "Hard": 9},
                    {"Name": "core", "Soft": 0, "Hard": 0},
                ],
            }
        )
    )
    assert (host["CpuPeriod"], host["CpuQuota"], host["Memory"]) == (100_000, 150_000, 512 << 20)
    assert not {"NanoCpus", "MemorySwap"} & host.keys()
    assert [(one["Name"], one["Soft"]) for one in host["Ulimits"]] == [("nofile", 9), ("core", 0)]


def test_our_labels_stay_and_a_name_may_be_fixed() -> None:
    labels = {"io.skerry.node": "other", "io.skerry.instance": "x", "theirs": "y"}
    extras = ContainerExtras(name="cyberwave-driver-0a1b2c3d", config={"Labels": labels})
    body, _ = made(extras)
    assert body["Labels"]["io.skerry.node"] == "mark"
    assert (body["Labels"]["io.skerry.instance"], body["Labels"]["theirs"]) == ("i1", "y")
    assert container_name(launch(extras)) == "cyberwave-driver-0a1b2c3d"
    assert container_name(launch(ContainerExtras())) == "skerry-w-i1"


@pytest.mark.parametrize(
    "extras",
    [
        ContainerExtras(host={"Privileged": True}),
        ContainerExtras(host={"CapAdd": ["SYS_ADMIN"]}),
        ContainerExtras(host={"NetworkMode": "host"}),
        ContainerExtras(host={"SecurityOpt": ["seccomp=unconfined"]}),
        ContainerExtras(host={"IpcMode": "host"}),
        ContainerExtras(host={"PidMode": "host"}),
        ContainerExtras(host={"Devices": []}),
        ContainerExtras(host={"GroupAdd": ["0"]}),
        ContainerExtras(host={"ReadonlyRootfs": False}),
        ContainerExtras(host={"PidsLimit": -1}),
        ContainerExtras(host={"Tmpfs": {"/x": "suid"}}),
        ContainerExtras(host={"VolumesFrom": ["other"]}),
        ContainerExtras(config={"User": "0"}),
    ],
)
def test_strict_takes_nothing_that_undoes_it(extras: ContainerExtras) -> None:
    [name] = extras.host or extras.config
    check_extras(extras, strict=False)
    with pytest.raises(
        Refused, match=f"^isolation «strict» gives no container {name}, for which its contract asks"
    ):
        check_extras(extras, strict=True)


@pytest.mark.parametrize("name", ["LogConfig", "AutoRemove"])
def test_what_is_the_nodes_alone_is_refused(name: str) -> None:
    with pytest.raises(Refused, match=f"its contract sets {name}, which is this node's alone"):
        check_extras(ContainerExtras(host={name: {}}), strict=False)


def test_what_it_is_shown_is_known_whichever_way_it_is_said() -> None:
    extras = ContainerExtras(
        host={"Binds": ["/a:/b:ro"], "Mounts": [{"Type": "bind", "Source": "/c", "Target": "/d"}]}
    )
    check_extras(extras, strict=True)
    assert list(sources(extras)) == ["/a:/b:ro", "/c"]


def test_its_status_says_what_its_contract_opens() -> None:
    def words(**host: object) -> str:
        return described(launch(ContainerExtras(host=host)))

    assert words() == "standard: container, seccomp"
    assert words(Privileged=True) == "standard: privileged container"
    assert words(SecurityOpt=["seccomp=unconfined"]) == "standard: container"
    assert words(NetworkMode="none").endswith("no network")
