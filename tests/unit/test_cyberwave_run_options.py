"""Drivers' `params`, which are options of `docker run`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.cyberwave.run_options import RunOptions, parsed, variables_of
from skerry.kit.errors import InvalidInput


def test_the_documented_example() -> None:
    params = ["--network", "local", "--add-host", "host.docker.internal:host-gateway"]
    assert parsed(params) == RunOptions(
        networks=("local",), host={"ExtraHosts": ["host.docker.internal:host-gateway"]}
    )


def test_each_variable_once_in_the_order_in_which_it_came_the_last_value_counts() -> None:
    found = parsed(["-e", "B=1", "-eA=x=y", "--env=B=2", "--env", "HOME", "--env-file", "/etc/x"])
    assert list(found.environment.items()) == [("B", "2"), ("A", "x=y"), ("HOME", None)]
    assert found.files == ("/etc/x",)


@pytest.mark.parametrize(
    ("words", "host"),
    [
        ("--device /dev/video0", {"Devices": [("/dev/video0", "/dev/video0", "rwm")]}),
        ("--device=/dev/a:/dev/b:r", {"Devices": [("/dev/a", "/dev/b", "r")]}),
        ("-v /a:/b:ro --volume=c:/d", {"Binds": ["/a:/b:ro", "c:/d"]}),
        ("--cap-add SYS_NICE --cap-drop=ALL", {"CapAdd": ["SYS_NICE"], "CapDrop": ["ALL"]}),
        ("--ipc host --pid=host", {"IpcMode": "host", "PidMode": "host"}),
        ("--shm-size 1.5g -m 512m --memory-swap -1", None),
        ("--cpus 1.5", {"NanoCpus": 1_500_000_000}),
        ("--tmpfs /run:size=1m --tmpfs=/x", {"Tmpfs": {"/run": "size=1m", "/x": ""}}),
        ("--ulimit memlock=-1 --ulimit nofile=1:2", {"Ulimits": [("memlock", -1, -1), ("nofile", 1, 2)]}),
        ("--read-only=true --privileged=false", {"ReadonlyRootfs": True}),
        ("--sysctl a.b=1", {"Sysctls": {"a.b": "1"}}),
        ("--dns-search a -P --memory-reservation 1m", {"DnsSearch": ["a"], "PublishAllPorts": True, "MemoryReservation": 1 << 20}),
    ],
)  # fmt: skip
def test_what_the_engine_is_told(words: str, host: dict[str, object] | None) -> None:
    found = parsed(words.split())
    assert not found.privileged
    if host is None:
        assert found.host == {"ShmSize": 1_610_612_736, "Memory": 536_870_912, "MemorySwap": -1}
        return
    told = {
        key: [tuple(each.values()) for each in value] if key in ("Devices", "Ulimits") else value
        for key, value in found.host.items()
    }
    assert told == host


def test_a_mount_a_rule_and_ports() -> None:
    params = ["--mount", "type=bind,src=/a,dst=/b,readonly", "--device-cgroup-rule", "c 81:* rmw",
              "-p", "80:8080", "-p", "127.0.0.1::53/udp", "--publish=[::1]:9:9", "--expose", "7"]  # fmt: skip
    found = parsed(params)
    assert found.host["Mounts"] == [
        {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}
    ]
    assert found.host["DeviceCgroupRules"] == ["c 81:* rmw"]
    assert found.host["PortBindings"] == {
        "8080/tcp": [{"HostIp": "", "HostPort": "80"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": ""}],
        "9/tcp": [{"HostIp": "::1", "HostPort": "9"}],
    }
    assert found.config["ExposedPorts"].keys() == {"7/tcp", "8080/tcp", "53/udp", "9/tcp"}


def test_the_rest_of_what_it_says() -> None:
    words = "--network a --net b --privileged --gpus all -u 1000:1000 -w /x --entrypoint sh -h cam -l a=1 -l b --stop-signal SIGINT"
    found = parsed(words.split())
    assert (found.networks, found.privileged, found.gpus) == (("a", "b"), True, "all")
    assert found.config == {
        "User": "1000:1000",
        "WorkingDir": "/x",
        "Hostname": "cam",
        "StopSignal": "SIGINT",
        "Entrypoint": ["sh"],
        "Labels": {"a": "1", "b": ""},
    }


@pytest.mark.parametrize(
    ("text", "gpus", "names"),
    [
        ("all", "all", None),
        ("all,capabilities=utility", "all", None),
        ("2", "2", None),
        ("count=2", "2", None),
        ("device=0", "", ["0"]),
        ("device=GPU-3a23c669", "", ["GPU-3a23c669"]),
        ('"device=0,2"', "", ["0", "2"]),
    ],
)
def test_who_asks_for_some_gpus_is_not_given_all(
    text: str, gpus: str, names: list[str] | None
) -> None:
    found = parsed(["--gpus", text])
    assert found.gpus == gpus
    requests = found.host.get("DeviceRequests")
    assert requests == (names and [{"DeviceIDs": names, "Capabilities": [["gpu"]]}])


def test_how_it_is_run_is_the_nodes_to_decide() -> None:
    found = parsed(
        ["--name", "x", "-d", "--rm", "-it", "--restart", "always", "--pull", "never", "--init"]
    )
    assert sorted(found.ignored) == sorted(
        f"--{name}"
        for name in ("name", "detach", "rm", "interactive", "tty", "restart", "pull", "init")
    )
    assert (found.host, found.config) == ({}, {})
    words = "--stop-timeout 10 --log-driver json-file --log-opt max-size=1m --log-opt a=b --no-healthcheck --health-cmd x -q"
    found = parsed(words.split())
    assert (found.host, found.config) == ({}, {})
    assert {"--stop-timeout", "--log-opt", "--health-cmd"} < set(found.ignored)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (["--nope"], "unrecognized arguments: --nope"),
        (["--gpus", "some"], "neither all, nor a number"),
        (["acme/other"], "unrecognized arguments: acme/other"),
        (["-e"], "-e/--env: expected one argument"),
        (["-e", "A B=1"], "is no NAME=VALUE"),
        (["--memory", "much"], "is no size"),
        (["--cpus", "many"], "is no number"),
        (["--cpu-quota", "1.5"], "is no whole number"),
        (["--device", "video0"], "is no /dev/NODE"),
        (["--device-cgroup-rule", "x"], "is no rule like"),
        (["--ulimit", "nofile"], "is no NAME=SOFT"),
        (["--mount", "type=bind,dst=/x"], "is no bind of a /PLACE"),
        (["-p", "99999"], "is no port"),
        (["--privileged=maybe"], "neither true nor false"),
    ],
)
def test_what_cannot_be_read_is_named(params: list[str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        parsed(params)


@given(
    st.lists(
        st.sampled_from(["-e", "--device", "--mount", "-p", "--ulimit", "-v"])
        | st.text(max_size=8),
        max_size=6,
    )
)
def test_whatever_words_are_there_they_are_read_or_refused(params: list[str]) -> None:
    try:
        parsed(params)
    except InvalidInput:
        return


def test_an_env_file() -> None:
    assert variables_of("# words\n\n A=1 \nB=x y\nC\n", "/x") == {"A": "1", "B": "x y", "C": None}
    with pytest.raises(InvalidInput, match="cannot read /x"):
        variables_of("=1", "/x")
