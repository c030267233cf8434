"""What any driver may have of a device, and what only one that the device trusts."""

from __future__ import annotations

import pytest

from skerry.core.cyberwave.privileges import JUDGED, UNJUDGED, asked
from skerry.core.cyberwave.run_options import RunOptions, parsed
from skerry.kit.errors import InvalidInput

LINKS = {
    "/dev/serial/by-id/usb-arm": "/dev/ttyUSB0",
    "/dev/arm": "/dev/ttyACM3",
    "/dev/video7": "/dev/sda",
    "/dev/shm/video": "/dev/video0",  # noqa: S108 - that anybody may write to
    "/dev/snd/../sda": "/dev/sda",
    "/etc/localtime": "/usr/share/zoneinfo/Europe/Berlin",
    "/run/udev/link": "/etc/shadow",
    "/home/me/time": "/etc/localtime",
    "/data/skerry": "/run/udev/skerry",
}


def needs(words: str, *private: str) -> list[str]:
    return asked(parsed(words.split()), private, lambda path: LINKS.get(path, path))


@pytest.mark.parametrize(
    "path",
    ["/dev/ttyUSB0", "/dev/ttyTHS1", "/dev/ttyAMA0", "/dev/serial/by-id/usb-arm", "/dev/arm", "/dev/video0", "/dev/media1", "/dev/v4l-subdev2",
     "/dev/v4l/by-id/cam", "/dev/snd/controlC0", "/dev/snd", "/dev/dri/renderD128", "/dev/dri", "/dev/input/event3", "/dev/bus/usb/001/002",
     "/dev/bus/usb", "/dev/i2c-1", "/dev/spidev0.1", "/dev/gpiochip0", "/dev/hidraw1", "/dev/can0", "/dev/v4l", "/dev/serial"],
)  # fmt: skip
def test_nodes_of_the_known_kinds_any_driver_has(path: str) -> None:
    assert needs(f"--device {path}") == []
    assert needs(f"-v {path}:{path}:ro --mount type=bind,src={path},dst=/x,readonly") == []


@pytest.mark.parametrize(
    "path",
    ["/dev", "/", "/dev/sda", "/dev/mem", "/dev/fuse", "/dev/net/tun", "/dev/kvm", "/dev/video7", "/dev/video", "/dev/video0/x", "/dev/bus",
     "/dev/shm/video", "/dev/snd/../sda", "/dev/disk/by-id/x", "/dev/uinput", "/dev/tty0", "/dev/nvhost-ctrl", "/home/me/time"],  # noqa: S108
)  # fmt: skip
def test_all_other_nodes_are_for_the_trusted(path: str) -> None:
    assert needs(f"--device {path}") == [f"--device {path}"]
    assert needs(f"-v {path}:/x:ro")


@pytest.mark.parametrize(
    ("rule", "has"),
    [("c 81:* rmw", True), ("c 188:0 rw", True), ("c 1:1 rwm", False), ("c *:* rwm", False), ("b 8:* r", False), ("a *:* rwm", False)],
)  # fmt: skip
def test_rules_for_the_known_kinds(rule: str, *, has: bool) -> None:
    found = asked(parsed(["--device-cgroup-rule", rule]), [])
    assert (not found) == has


@pytest.mark.parametrize(
    "words",
    ["-v data:/data", "-v data:/data:rw", "-v /data", "-v /etc/localtime:/etc/localtime:ro", "-v /etc/timezone:/x:ro,private", "-v /run/udev:/run/udev:ro",
     "--mount type=bind,src=/usr/share/zoneinfo/UTC,dst=/x,ro", "--mount src=data,dst=/data", "--mount type=tmpfs,dst=/x",
     "--memory 1g --memory-swap 2g", "--pids-limit 100", "--runtime nvidia", "--sysctl net.core.somaxconn=9", "--ipc private",
     "--security-opt no-new-privileges", "--cap-add CAP_IPC_LOCK", "--ulimit nofile=9", "--network robots", "--gpus all"],
)  # fmt: skip
def test_what_stays_within_the_container_any_driver_has(words: str) -> None:
    assert needs(words) == []


@pytest.mark.parametrize(
    "words",
    ["-v /etc/localtime:/etc/localtime", "-v /etc/localtime:/x:ro,rw", "-v /run/udev:/x:ro,shared", "-v /etc/localtime:/x:ro,U", "-v data:/x:U",
     "-v /run/udev:/x:ro,Z", "-v /etc/timezone:/x:ro,z", "-v data:/x:Z",
     "-v /dev/bus/usb:/dev/bus/usb", "-v /run/udev/link:/x:ro", "-v /run/udev/../x:/x:ro", "-v /home/me/time:/x:ro", "-v /srv/maps:/maps:ro",
     "-v /:/host:ro", "-v /var/run/docker.sock:/x", "--mount type=bind,src=/opt,dst=/opt,ro", "--mount type=bind,src=/run/udev,dst=/x",
     "--memory-swap -1", "--memory 1g --memory-swap 3g", "--memory-swap 1g", "--pids-limit -1", "--pids-limit 0", "--pids-limit 5000",
     "--runtime runc", "--sysctl kernel.core_pattern=x", "--ipc host", "--pid container:x", "--userns ns:/x", "--cgroupns host",
     "--security-opt seccomp=unconfined", "--security-opt label=enforce", "--cap-add SYS_ADMIN", "--cap-add NET_RAW", "--cap-add all", "--cap-add SYS_NICE", "--ulimit rtprio=99", "--ulimit RTPRIO=1",
     "--network container:x",
     "--network ns:/x", "--privileged", "--oom-kill-disable", "--oom-score-adj -1"],
)  # fmt: skip
def test_the_rest_is_for_the_trusted(words: str) -> None:
    assert needs(words)


@pytest.mark.parametrize("private", ["/run/udev/skerry", "/data/skerry"])
def test_what_the_node_keeps_is_kept_by_whatever_name(private: str) -> None:
    for place in ("/run/udev/skerry/x", "/run/udev"):
        assert needs(f"-v {place}:/x:ro", private) == [f"--mount {place}:/x:ro"]
    assert needs("-v /etc/timezone:/x:ro", private) == []


@pytest.mark.parametrize(
    "words",
    ["-v ./x:/x", "-v ../x:/x", "-v ~/x:/x", "-v x/y:/x", "-v :/x", "-v data", "-v data:x", "-v /a:/b:ro:z", "--mount type=bind,src=x,dst=/x",
     "--mount type=bind,dst=/x", "--mount type=volume,src=/x,dst=/x", "--mount type=npipe,src=/x,dst=/x", "--mount type=tmpfs,src=/x,dst=/x",
     "--volumes-from other"],
)  # fmt: skip
def test_what_is_no_mount_is_nobodys(words: str) -> None:
    with pytest.raises(InvalidInput, match="params: "):
        parsed(words.split())


ALL = """
--env A=1 --env-file /x --network n --add-host a:1 --device /dev/video0 --volume a:/b --mount src=a,dst=/b --publish 1:1 --expose 1
--cap-add KILL --cap-drop ALL --group-add a --ulimit nofile=1 --tmpfs /x --security-opt no-new-privileges --sysctl net.a=1 --label a=1
--dns 1.1.1.1 --user a --workdir /x --entrypoint a --gpus device=0 --ipc private --pid private --uts private --userns private --shm-size 1m
--memory 1m --memory-swap 1m --cpus 1 --cpu-period 1 --cpu-quota 1 --cpu-shares 1 --cpuset-cpus 1 --pids-limit 1 --hostname a
--runtime nvidia --cgroupns private --read-only --publish-all --domainname a --stop-signal SIGINT --memory-reservation 1m
--memory-swappiness 1 --oom-score-adj 1 --blkio-weight 10 --cpuset-mems 0 --dns-search a --dns-opt a --oom-kill-disable=false
"""


def test_every_option_that_comes_to_the_engine_is_judged_or_known_to_be_harmless() -> None:
    from skerry.core.cyberwave import run_options  # noqa: PLC0415 - its tables, for this test only

    found = parsed([*ALL.split(), "--device-cgroup-rule", "c 81:* r"])
    tables = (*run_options._HOST_LISTS, *run_options._HOST_VALUES)
    assert (
        {key for key, *_ in tables}
        < found.host.keys()
        == ((JUDGED | UNJUDGED) - {"OomKillDisable"})
    )
    assert not JUDGED & UNJUDGED
    names = {flags.split()[-1] for flags in (*run_options._LISTS, *run_options._VALUES)}
    ours = {f"--{name}" for name in run_options._OURS}
    shown = {name for name in ALL.split() if name.startswith("--")}
    assert names - ours - shown == {"--net", "--device-cgroup-rule"}
    assert asked(found, []) == []


@pytest.mark.parametrize(
    ("memory", "free"),
    [("1", True), ("1g", True), ("0", False), ("1025m", False), ("900g", False)],
)
def test_a_driver_has_no_more_memory_than_the_device_gives_one(memory: str, *, free: bool) -> None:
    found = parsed(["--memory", memory])
    assert (not asked(found, [], most_memory=1 << 30)) == free
    assert asked(found, []) == []  # the kernel, or the device's owner, knows no limit


def test_what_is_not_known_here_is_for_the_trusted() -> None:
    assert asked(RunOptions(host={"Links": ["x"]}), []) == ["Links"]
