"""What drivers are started with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.driver_rig import (
    ARM,
    CAMERA,
    ENVIRONMENT,
    IMAGE,
    Rig,
    camera,
    device,
    driver,
    twin,
)

from skerry.core.cyberwave.drivers import Platform
from skerry.kit.errors import InvalidInput
from skerry.node.broker.tokens import token_of
from skerry.node.contracts.cyberwave import SharedMemory
from skerry.node.drivers.launches import grant_of
from skerry.node.ports import ContainerLaunch, ProcessLaunch
from skerry.node.twin_ports import Grant
from skerry.node.workloads.runtimes.containers.creation import Findings, creation
from skerry.node.workloads.runtimes.containers.extras import with_extras
from skerry.wire.codec import decode, encode
from skerry.wire.workload import Assignment

EMPTY = {"HostConfig": {}, "Env": [], "Labels": {}}

NAME = f"cyberwave-driver-{ARM[:8]}"


def mount(source: str, target: str, *, writable: bool = False) -> dict[str, object]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": not writable}


async def test_a_driver_has_exactly_the_documented_environment(tmp_path: Path) -> None:
    launch = await Rig(tmp_path, twin(), camera()).launch()
    assert launch.environment == {
        "CYBERWAVE_API_KEY": token_of(b"secret", "i1"),
        "CYBERWAVE_TWIN_UUID": ARM,
        "CYBERWAVE_TWIN_JSON_FILE": f"/app/{ARM}.json",
        "CYBERWAVE_CHILD_TWIN_UUIDS": CAMERA,
        "CYBERWAVE_EDGE_CONFIG_DIR": "/app/.cyberwave",
        "CYBERWAVE_EDGE_HOST_PLATFORM": "linux",
        "CYBERWAVE_BASE_URL": "http://127.0.0.1:18883",
        "CYBERWAVE_API_URL": "http://127.0.0.1:18883",
        "CYBERWAVE_MQTT_HOST": "127.0.0.1",
        "CYBERWAVE_MQTT_PORT": "18884",
        "CYBERWAVE_DATA_BACKEND": "zenoh",
        "ZENOH_LISTEN": "tcp/127.0.0.1:0",
        "ZENOH_SHARED_MEMORY": "false",
    }


async def test_a_driver_that_shares_memory_shares_the_containers_and_not_the_devices(
    tmp_path: Path,
) -> None:
    shared = tmp_path / "shared"
    on = replace(device(tmp_path), shared=SharedMemory(shared, locks=True))
    memory = mount(str(shared), "/dev/shm", writable=True)  # noqa: S108 - Zenoh's place
    share, limit = ("-e", "ZENOH_SHARED_MEMORY=true"), ("--ulimit", "memlock=1:2")
    unlimited = {"Name": "memlock", "Soft": -1, "Hard": -1}
    for params, shares, locks in (
        (share, True, unlimited),
        ((*share, *limit), True, {"Name": "memlock", "Soft": 1, "Hard": 2}),
        ((*share, "-v", "a:/dev/shmem"), True, unlimited),
        ((), False, None),
    ):
        launch = await Rig(tmp_path, twin(ARM, *params), on=on).launch()
        assert isinstance(launch, ContainerLaunch)
        assert (memory in launch.extras.host["Mounts"]) == shares
        assert "IpcMode" not in launch.extras.host
        host = msgspec.convert(with_extras(EMPTY, launch.extras)["HostConfig"], dict[str, Any])
        assert host.get("Ulimits", []) == ([locks] if locks else [])


async def test_case_9_a_drivers_container_is_called_and_mounted_as_documented(
    tmp_path: Path,
) -> None:
    params = [
        "--device",
        "/dev/ttyUSB0",
        "-v",
        "data:/data",
        "--add-host",
        "a:1.2.3.4",
        "--gpus",
        "all",
    ]
    launch = await Rig(tmp_path, twin(ARM, *params)).launch()
    assert isinstance(launch, ContainerLaunch)
    config = tmp_path / "config"
    assert (launch.spec.network, launch.spec.privileged, launch.spec.gpus) == ("host", False, "all")
    extras = launch.extras
    assert (extras.name, extras.otherwise) == (NAME, f"cyberwave-driver-{ARM}")
    assert extras.config == {"StopTimeout": 5}
    assert extras.host == {
        "Init": True,
        "RestartPolicy": {"Name": "unless-stopped"},
        "Devices": [{"PathOnHost": "/dev/ttyUSB0", "PathInContainer": "/dev/ttyUSB0", "CgroupPermissions": "rwm"}],
        "ExtraHosts": ["a:1.2.3.4"],
        "Binds": [f"cyberwave-{ARM}-data:/data"],
        "Mounts": [
            mount(f"{config}/{ARM}.json", f"/app/{ARM}.json", writable=True),
            mount(f"{tmp_path}/views/{NAME}", "/app/.cyberwave"),
            mount(f"{config}/{ARM}.json", f"/app/.cyberwave/{ARM}.json"),
            mount(f"{tmp_path}/secrets/{NAME}/i1/credentials.json", "/app/.cyberwave/credentials.json"),
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "dropped"),
    [
        ([], ["NET_RAW"]),
        (["--network", "robots"], ["NET_RAW"]),
        (["--cap-drop", "CHOWN"], ["NET_RAW", "CHOWN"]),
        (["--cap-add", "cap_net_raw"], []),
        (["--cap-add", "ALL"], []),
        (["--privileged"], []),
    ],
)
async def test_only_a_driver_that_is_trusted_hears_what_others_say_to_the_node(
    tmp_path: Path, params: list[str], dropped: list[str]
) -> None:
    rig = Rig(tmp_path, twin(ARM, *params), on=device(tmp_path, IMAGE))
    rig.gateways["robots"] = "172.20.0.1"
    launch = await rig.launch()
    assert isinstance(launch, ContainerLaunch)
    body: Any = creation("mark", launch, Findings())
    assert body["HostConfig"]["CapDrop"] == dropped


async def test_case_11_variables_of_the_params_win_once_each_and_in_their_order(
    tmp_path: Path,
) -> None:
    params = ["-e", "Z=1", "-e", "ZENOH_SHARED_MEMORY=true", "-e", "CYBERWAVE_DATA_BACKEND=filesystem", "-e", "A=2", "-e", "Z=3"]  # fmt: skip
    rig = Rig(tmp_path, twin(ARM, *params))
    (assignment,) = (await rig.look()).values()
    stored = decode(encode(assignment), Assignment, "assignment")
    launch = rig.workloads.launch_for(stored, "i1")
    assert launch is not None
    assert list(launch.environment.items())[-4:] == [
        ("Z", "3"),
        ("ZENOH_SHARED_MEMORY", "true"),
        ("CYBERWAVE_DATA_BACKEND", "filesystem"),
        ("A", "2"),
    ]


async def test_in_a_network_of_its_own_a_driver_is_given_the_nodes_address_there(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, twin(ARM, "--network", "robots"))
    rig.gateways["robots"] = "172.20.0.1"
    rig.device = replace(rig.device, router="7447")
    environment = (await rig.launch()).environment
    assert environment["CYBERWAVE_BASE_URL"] == "http://172.20.0.1:18883"
    assert environment["CYBERWAVE_MQTT_HOST"] == "172.20.0.1"
    assert environment["ZENOH_CONNECT"] == "tcp/172.20.0.1:7447"
    assert environment["ZENOH_MODE"] == "client"
    assert rig.reached == [["172.20.0.1"]]
    rig.gateways["robots"] = "fd00::1"
    environment = (await rig.launch()).environment
    assert environment["CYBERWAVE_BASE_URL"] == "http://[fd00::1]:18883"
    assert environment["CYBERWAVE_MQTT_HOST"] == "fd00::1"
    assert environment["ZENOH_CONNECT"] == "tcp/[fd00::1]:7447"


@pytest.mark.parametrize(
    ("params", "router", "mode"),
    [
        (("--network", "robots"), "", None),
        ((), "7447", None),
        (("--network", "robots", "-e", "ZENOH_MODE=peer"), "7447", "peer"),
    ],
)
async def test_only_behind_a_bridge_and_with_a_router_its_bus_is_the_routers(
    tmp_path: Path, params: tuple[str, ...], router: str, mode: str | None
) -> None:
    rig = Rig(tmp_path, twin(ARM, *params))
    rig.gateways["robots"] = "172.20.0.1"
    rig.device = replace(rig.device, router=router)
    assert (await rig.launch()).environment.get("ZENOH_MODE") == mode


@pytest.mark.parametrize(("router", "mode"), [("7447", "client"), ("", None)])
async def test_a_device_may_have_its_bus_go_by_the_router_alone(
    tmp_path: Path, router: str, mode: str | None
) -> None:
    """A client that has no router ends."""
    rig = Rig(tmp_path, twin(), on=device(tmp_path, ZENOH_MODE=" Client"))
    rig.device = replace(rig.device, router=router)
    assert (await rig.launch()).environment.get("ZENOH_MODE") == mode


async def test_an_instance_has_its_own_token_and_nothing_holds_it_but_its_start(
    tmp_path: Path,
) -> None:
    on = device(
        tmp_path, CYBERWAVE_API_KEY="cw_fleet", CYBERWAVE_X="x", CYBERWAVE_ENVIRONMENT="Dev"
    )
    rig = Rig(tmp_path, twin(), camera(), on=on)
    launch = await rig.launch()
    token = launch.environment["CYBERWAVE_API_KEY"]
    other = (await rig.launch("i2")).environment["CYBERWAVE_API_KEY"]
    assert other != token == (await rig.launch()).environment["CYBERWAVE_API_KEY"]
    assert rig.tokens.grant_of(token) == Grant(
        "driver", NAME, (ARM, CAMERA), ENVIRONMENT, (), "dev"
    )
    told = [
        str(launch),
        *(str(file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file()),
    ]
    assert not [
        text for text in (*told, encode((await rig.look())[NAME]).decode()) if token in text
    ]
    assert token in launch.log_rules.secrets
    credentials = json.loads(launch.secret_files["credentials.json"])
    assert credentials["token"] == token
    assert credentials["envs"]["CYBERWAVE_X"] == "x"
    assert "cw_fleet" not in str(credentials)


async def test_its_tokens_are_for_topics_that_begin_as_the_device_says(tmp_path: Path) -> None:
    asked = ["-e", "CYBERWAVE_MQTT_TOPIC_PREFIX=a", "-e", "CYBERWAVE_TOPIC_PREFIX=b", "-e", "CYBERWAVE_ENVIRONMENT=c"]  # fmt: skip
    for said, prefix in (
        ({}, ""),
        ({"CYBERWAVE_ENVIRONMENT": "Dev"}, "dev"),
        ({"CYBERWAVE_ENVIRONMENT": "Dev", "CYBERWAVE_TOPIC_PREFIX": "lab"}, "lab"),
        ({"CYBERWAVE_TOPIC_PREFIX": "lab", "CYBERWAVE_MQTT_TOPIC_PREFIX": "first"}, "first"),
        ({"CYBERWAVE_ENVIRONMENT": "Dev", "CYBERWAVE_TOPIC_PREFIX": "lab/"}, "lab/"),
        ({"CYBERWAVE_ENVIRONMENT": "Dev", "CYBERWAVE_TOPIC_PREFIX": "lab+"}, "dev"),
        ({"CYBERWAVE_ENVIRONMENT": "Dev/1"}, ""),
        ({"CYBERWAVE_TOPIC_PREFIX": "#"}, ""),
    ):
        rig = Rig(tmp_path, twin(ARM, *asked), on=device(tmp_path, **said))
        (assignment,) = (await rig.look()).values()
        again = decode(encode(assignment), Assignment, "what the store gives back")
        assert grant_of(again).prefix == prefix


async def test_a_native_driver_has_the_same_with_places_of_the_device(tmp_path: Path) -> None:
    native = twin(
        ARM, drivers={"default": {"command": ["/usr/bin/arm", "x"], "params": ["-e", "TZ=UTC"]}}
    )
    rig = Rig(tmp_path, native, on=device(tmp_path, "/usr/bin/arm x"))
    launch = await rig.launch()
    assert isinstance(launch, ProcessLaunch)
    assert launch.command == ("/usr/bin/arm", "x")
    config, view = tmp_path / "config", tmp_path / "views" / NAME
    environment = launch.environment
    assert environment["CYBERWAVE_TWIN_JSON_FILE"] == f"{config}/{ARM}.json"
    assert environment["CYBERWAVE_EDGE_CONFIG_DIR"] == str(view)
    assert (view / f"{ARM}.json").resolve() == config / f"{ARM}.json"
    assert (
        view / "credentials.json"
    ).readlink() == tmp_path / "secrets" / NAME / "i1" / "credentials.json"
    assert environment["TZ"] == "UTC"
    assert {"HOME", "PATH", "LANG"} < environment.keys()
    assert not [name for name in environment if name.startswith("SKERRY_")]


async def test_on_a_mac_the_engines_host_is_named(tmp_path: Path) -> None:
    on = replace(device(tmp_path), platform=Platform("Darwin", "arm64"))
    launch = await Rig(tmp_path, twin(), on=on).launch()
    assert isinstance(launch, ContainerLaunch)
    assert launch.spec.network is None
    assert launch.extras.host["ExtraHosts"] == ["host.docker.internal:host-gateway"]
    assert launch.environment["CYBERWAVE_MQTT_HOST"] == "host.docker.internal"


async def test_the_data_bus_of_files_is_one_directory_of_the_nodes_own(tmp_path: Path) -> None:
    """Whatever a driver's params call it: no directory of the device is mounted because a twin says so."""
    params = ["-e", "CYBERWAVE_DATA_BACKEND=filesystem", "-e", "CYBERWAVE_DATA_DIR=/etc"]
    launch = await Rig(tmp_path, twin(ARM, *params)).launch()
    assert isinstance(launch, ContainerLaunch)
    bus = mount(str(tmp_path / "bus"), "/etc", writable=True)
    assert bus in launch.extras.host["Mounts"]
    assert (tmp_path / "bus").stat().st_mode & 0o777 == 0o777
    usual = await Rig(tmp_path, twin(ARM, *params[:2])).launch()
    assert isinstance(usual, ContainerLaunch)
    assert {**bus, "Target": "/tmp/cyberwave_data"} in usual.extras.host["Mounts"]  # noqa: S108 - the SDK's


async def test_there_is_none_on_zenoh(tmp_path: Path) -> None:
    launch = await Rig(tmp_path, twin()).launch()
    assert isinstance(launch, ContainerLaunch)
    assert not any(str(tmp_path / "bus") in each.values() for each in launch.extras.host["Mounts"])


async def test_an_so101_arm_keeps_its_calibrations_in_the_configuration_directory(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, twin(drivers={"default": driver("cyberwaveos/so101-driver")}))
    launch = await rig.launch()
    assert isinstance(launch, ContainerLaunch)
    library = tmp_path / "config" / "so101_lib"
    assert launch.extras.host["Mounts"][-1] == mount(
        str(library), "/app/.cyberwave/so101_lib", writable=True
    )
    (library / "follower.json").write_text("{}")
    assert (tmp_path / "views" / NAME / "so101_lib").is_dir()
    await rig.launch("i2")
    assert (library / "follower.json").exists()
    (library / "follower.json").unlink()
    library.rmdir()
    library.symlink_to(tmp_path)
    with pytest.raises(InvalidInput, match="is a link"):
        await rig.launch("i3")


async def test_what_a_native_driver_has_made_in_its_view_keeps_it_from_nothing(
    tmp_path: Path,
) -> None:
    native = twin(ARM, drivers={"default": {"command": ["arm"]}})
    rig = Rig(tmp_path, native, on=device(tmp_path, "arm"))
    view = Path((await rig.launch()).environment["CYBERWAVE_EDGE_CONFIG_DIR"])
    (view / "calibration").mkdir()
    (view / f"{CAMERA}.json").touch()
    await rig.launch("i2")
    assert (view / "calibration").is_dir()
    assert not (view / f"{CAMERA}.json").exists()
