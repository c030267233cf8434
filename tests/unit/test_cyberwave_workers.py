"""The contract of Cyberwave's workers: image, limits, mounts, variables; and what is told of a start."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from skerry.core.cyberwave.knobs import knobs_of
from skerry.keeper.log_rules import LogRules
from skerry.node.contracts.cyberwave import SharedMemory, Surroundings
from skerry.node.contracts.cyberwave_worker import (
    Places,
    WorkerPlan,
    images,
    prefix_of,
    worker_launch,
    worker_spec,
)
from skerry.node.cyberwave.places import may_raise_limits
from skerry.node.drivers.limits import DriverLimits, worker_limits
from skerry.node.ports import ContainerLaunch, ProcessLaunch
from skerry.node.workloads.runtimes.containers.creation import Findings, creation
from skerry.wire.workload import Resources

ENVIRONMENT = "11111111-2222-4333-8444-555555555555"
ARM, CAMERA = "aaaaaaaa-0000-4000-8000-000000000002", "aaaaaaaa-0000-4000-8000-000000000001"
NAME = "cyberwave-worker-11111111"
TOKEN = "cw_the-instances-own"
PLACES = Places(
    Path("/v/view"),
    Path("/r/status"),
    Path("/m/i/credentials.json"),
    Path("/r/models"),
    ("yolov8n", "manifest.json"),
    (Path(f"/cfg/{ARM}.json"),),
    shared=SharedMemory(Path("/m/shared"), locks=True),
    limits=Resources(memory=3 << 30, pids=99),
)
RULES = LogRules(1, 1, None, known=True, patterns=[])


def plan(**variables: str) -> WorkerPlan:
    around = Surroundings(
        "http://127.0.0.1:18883",
        "127.0.0.1",
        18884,
        environment=knobs_of(variables).environment,
        device=variables,
    )
    knobs = knobs_of(variables)
    [image, *_] = images(knobs, gpu=False)
    return WorkerPlan(
        ENVIRONMENT, (ARM, CAMERA), "/cfg/workers", around, knobs, image, user="1000:1001"
    )


def created(found: WorkerPlan, models: Path | None = None) -> dict[str, object]:
    """The body of «create» as the engine gets it."""
    spec = worker_spec(found)
    assert spec.container is not None
    base = ContainerLaunch(
        instance="i",
        workload=spec.name,
        environment={"SKERRY_SOCKET": "/run/skerry/sock"},
        strict=False,
        log=Path("/l"),
        log_rules=RULES,
        models=models,
        spec=spec.container,
        resources=spec.resources,
        socket=Path("/s/sock"),
    )
    launch = worker_launch(base, spec, PLACES, TOKEN)
    assert isinstance(launch, ContainerLaunch)
    body = creation("me", launch, Findings())
    return body | {"name": launch.extras.name}


def env(body: dict[str, object]) -> dict[str, str]:
    listed = msgspec.convert(body["Env"], list[str])
    names = [each.partition("=")[0] for each in listed]
    assert len(set(names)) == len(names)
    return {name: each.partition("=")[2] for name, each in zip(names, listed, strict=True)}


def host(body: dict[str, object]) -> dict[str, object]:
    return msgspec.convert(body["HostConfig"], dict[str, object])


def test_a_worker_gets_exactly_the_documented_variables() -> None:
    body = created(plan(CYBERWAVE_ENVIRONMENT="Dev", CYBERWAVE_GPU_MEM_FRACTION="0.5"))
    assert env(body) == {
        "CYBERWAVE_API_KEY": TOKEN,
        "CYBERWAVE_ENVIRONMENT_UUID": ENVIRONMENT,
        "CYBERWAVE_TWIN_UUIDS": f"{CAMERA},{ARM}",
        "CYBERWAVE_TWIN_UUID": CAMERA,
        "CYBERWAVE_EDGE_CONFIG_DIR": "/app/.cyberwave",
        "CYBERWAVE_WORKER_STATUS_PATH": "/run/cyberwave/worker-status.json",
        "CYBERWAVE_EDGE_HOST_PLATFORM": "linux",
        "CYBERWAVE_BASE_URL": "http://127.0.0.1:18883",
        "CYBERWAVE_API_URL": "http://127.0.0.1:18883",
        "CYBERWAVE_MQTT_HOST": "127.0.0.1",
        "CYBERWAVE_MQTT_PORT": "18884",
        "CYBERWAVE_ENVIRONMENT": "dev",
        "CYBERWAVE_DATA_BACKEND": "zenoh",
        "ZENOH_LISTEN": "tcp/127.0.0.1:0",
        "ZENOH_SHM_ENABLED": "true",
        "ZENOH_SHARED_MEMORY": "true",
        "CYBERWAVE_GPU_MEM_FRACTION": "0.5",
    }


def test_a_worker_does_not_hear_what_drivers_say_to_the_node() -> None:
    assert host(created(plan()))["CapDrop"] == ["NET_RAW"]


def test_a_worker_gets_exactly_the_documented_mounts_and_is_the_owner_of_the_directory() -> None:
    body = created(plan(), Path("/d/models/.views/x"))
    mounts = msgspec.convert(host(body)["Mounts"], list[dict[str, object]])
    assert [(one["Source"], one["Target"], one["ReadOnly"]) for one in mounts] == [
        ("/v/view", "/app/.cyberwave", True),
        (f"/cfg/{ARM}.json", f"/app/.cyberwave/{ARM}.json", True),
        ("/m/i/credentials.json", "/app/.cyberwave/credentials.json", True),
        ("/r/status", "/run/cyberwave", False),
        ("/r/models", "/app/models", False),
        ("/d/models/.views/x/yolov8n", "/app/models/yolov8n", True),
        ("/d/models/.views/x/manifest.json", "/app/models/manifest.json", True),
        ("/m/shared", "/dev/shm", False),  # noqa: S108 - where Zenoh looks in the container
    ]
    assert host(body)["Init"] is True
    assert host(body)["Binds"] == []
    assert body["name"] == NAME
    assert body["User"] == "1000:1001"
    assert host(body)["NetworkMode"] == "host"
    assert not host(body)["Privileged"]


@pytest.mark.parametrize(
    "name", ["CYBERWAVE_WORKER_CPU_PERCENT", "CYBERWAVE_WORKER_CPU_QUOTA_PERCENT"]
)
def test_case_45_limits_reach_the_engine_as_docker_run_says_them(name: str) -> None:
    body = created(plan(**{name: "150", "CYBERWAVE_WORKER_MEMORY_MB": "512"}))
    limits = host(body)
    assert (limits["CpuPeriod"], limits["CpuQuota"]) == (100_000, 150_000)
    assert limits["Memory"] == 512 << 20
    assert "NanoCpus" not in limits


def test_a_worker_that_says_nothing_has_the_nodes_limits() -> None:
    limits = host(created(plan()))
    assert not {"CpuPeriod", "CpuQuota", "NanoCpus"} & limits.keys()
    assert (limits["Memory"], limits["MemorySwap"], limits["PidsLimit"]) == (3 << 30, 3 << 30, 99)
    # What is said is a reservation as well; what the node gives by itself is none.
    assert worker_spec(plan()).resources.memory is None
    said = plan(CYBERWAVE_WORKER_MEMORY_MB="512")
    assert worker_spec(said).resources.memory == 512 << 20
    assert host(created(said))["PidsLimit"] == 99


@pytest.mark.parametrize(
    ("total", "setting", "variables", "limit"),
    [
        (64 << 30, None, {}, 48 << 30),
        (4 << 30, None, {}, 3 << 30),
        (1 << 30, None, {}, 512 << 20),
        (600 << 20, None, {}, 256 << 20),
        (0, None, {}, 0),
        (4 << 30, None, {"CYBERWAVE_WORKER_AUTO_MEMORY_LIMIT": "false"}, 0),
        (4 << 30, 1 << 30, {"CYBERWAVE_WORKER_AUTO_MEMORY_LIMIT": "false"}, 1 << 30),
        (4 << 30, 0, {}, 0),
        (4 << 30, None, {"CYBERWAVE_WORKER_CPU_PERCENT": "100"}, 3 << 30),
    ],
)
def test_a_device_keeps_some_memory_for_itself(
    total: int, setting: int | None, variables: dict[str, str], limit: int
) -> None:
    enabled = frozenset({"memory", "pids"})
    assert worker_limits(setting, 7, total, enabled, variables) == DriverLimits(limit, 7)
    assert worker_limits(setting, 7, total, frozenset(), variables) == DriverLimits()


@pytest.mark.parametrize(
    ("variables", "gpu", "tried"),
    [
        ({}, False, ("cyberwaveos/edge-ml-worker:latest",)),
        ({"CYBERWAVE_ENVIRONMENT": "Dev"}, False, ("cyberwaveos/edge-ml-worker:dev",)),
        ({"CYBERWAVE_ENVIRONMENT": "production"}, False, ("cyberwaveos/edge-ml-worker:latest",)),
        ({}, True, ("cyberwaveos/edge-ml-worker:latest-gpu", "cyberwaveos/edge-ml-worker:latest")),
        ({"CYBERWAVE_WORKER_IMAGE": "acme/w:2"}, True, ("acme/w:2",)),
        (
            {"CYBERWAVE_WORKER_IMAGE": "cyberwaveos/edge-ml-worker:7-gpu"},
            True,
            ("cyberwaveos/edge-ml-worker:7-gpu",),
        ),
    ],
)
def test_the_image_for_gpus_is_tried_first(
    variables: dict[str, str], gpu: bool, tried: tuple[str, ...]
) -> None:
    assert images(knobs_of(variables), gpu=gpu) == tried


@pytest.mark.parametrize(
    ("said", "told", "shares"), [("", "true", True), ("true", "true", True), ("0", "false", False)]
)
def test_shared_memory_has_both_names_and_is_that_of_the_containers(
    said: str, told: str, *, shares: bool
) -> None:
    """Not the device's own, in which the node has the gate's journal and secrets of workloads."""
    body = created(plan(ZENOH_SHARED_MEMORY=said))
    assert env(body)["ZENOH_SHM_ENABLED"] == env(body)["ZENOH_SHARED_MEMORY"] == told
    assert "IpcMode" not in host(body)
    memory = {"Type": "bind", "Source": "/m/shared", "Target": "/dev/shm", "ReadOnly": False}  # noqa: S108 - as above
    assert (memory in msgspec.convert(host(body)["Mounts"], list[dict[str, object]])) == shares
    # Zenoh locks what it shares: with a container's usual 8 MiB of that it copies every sample.
    locks = [{"Name": "memlock", "Soft": -1, "Hard": -1}]
    assert host(body)["Ulimits"] == (locks if shares else [])
    assert (
        SharedMemory(Path("/m")).limits == []
    )  # an engine that may not raise limits would refuse it


@pytest.mark.parametrize(
    ("status", "may"),
    [
        ("CapEff:\t000001ffffffffff\n", True),
        ("CapEff:\t000001fffeffffff\n", False),
        ("CapEff:\t0000000000000000\n", False),
        ("", False),
    ],
)
def test_limits_are_raised_where_the_device_allows_it(
    tmp_path: Path, status: str, *, may: bool
) -> None:
    process = tmp_path / "status"
    assert not may_raise_limits(process)
    process.write_text(f"Name:\tpython\n{status}")
    assert may_raise_limits(process) == may


def test_the_devices_own_secrets_stay_with_it() -> None:
    secrets = {"CYBERWAVE_API_KEY": "cw_hub", "CYBERWAVE_MQTT_PASSWORD": "cw_hub"}
    body = created(plan(**secrets, CYBERWAVE_BASE_URL="https://hub", CYBERWAVE_MQTT_HOST="hub"))
    assert "cw_hub" not in str(body)
    assert env(body)["CYBERWAVE_BASE_URL"] == "http://127.0.0.1:18883"
    assert env(body)["CYBERWAVE_MQTT_HOST"] == "127.0.0.1"


def test_its_credentials_are_a_file_in_memory_and_its_token_is_masked_in_its_log() -> None:
    spec = worker_spec(plan())
    assert spec.container is not None
    base = ContainerLaunch(
        instance="i",
        workload=NAME,
        environment={},
        strict=False,
        log=Path("/l"),
        log_rules=RULES,
        spec=spec.container,
        resources=Resources(),
        socket=Path("/s/sock"),
    )
    launch = worker_launch(base, spec, PLACES, TOKEN)
    assert launch.secrets is None  # it is mounted as one file, where it is looked for
    assert msgspec.json.decode(launch.secret_files["credentials.json"])["token"] == TOKEN
    assert TOKEN in launch.log_rules.secrets
    assert TOKEN not in repr(launch)


def test_workers_run_on_the_device_itself_where_a_command_says_so() -> None:
    found = msgspec.structs.replace(plan(), image="", command=("/venv/bin/python", "-m", "cw"))
    spec = worker_spec(found)
    assert spec.process is not None
    base = ProcessLaunch(
        instance="i",
        workload=NAME,
        environment={"HOME": "/h", "PATH": "/bin", "LANG": "C", "SKERRY_NODE": "n"},
        strict=False,
        log=Path("/l"),
        log_rules=RULES,
        command=("/venv/bin/python", "-m", "cw"),
        directory=Path("/h"),
        limits={},
        home=Path("/h"),
    )
    launch = worker_launch(base, spec, PLACES, TOKEN)
    assert launch.environment["CYBERWAVE_WORKERS_DIR"] == "/cfg/workers"
    assert launch.environment["CYBERWAVE_EDGE_CONFIG_DIR"] == "/v/view"
    assert launch.environment["CYBERWAVE_MODEL_DIR"] == "/r/models"
    assert launch.environment["CYBERWAVE_WORKER_STATUS_PATH"] == "/r/status/worker-status.json"
    assert launch.environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert launch.environment["HOME"] == "/h"
    assert "SKERRY_NODE" not in launch.environment
    assert isinstance(launch, ProcessLaunch)
    assert (launch.resources.memory, launch.resources.pids) == (3 << 30, 99)


def test_topics_begin_as_the_sdk_lets_them() -> None:
    assert prefix_of(worker_spec(plan())) == ""
    assert prefix_of(worker_spec(plan(CYBERWAVE_ENVIRONMENT="Dev"))) == "dev"
    said = plan(CYBERWAVE_ENVIRONMENT="Dev", CYBERWAVE_TOPIC_PREFIX="lab+")
    assert prefix_of(worker_spec(said)) == "dev"
    said = plan(CYBERWAVE_ENVIRONMENT="Dev", CYBERWAVE_TOPIC_PREFIX="lab")
    assert prefix_of(worker_spec(said)) == "lab"
