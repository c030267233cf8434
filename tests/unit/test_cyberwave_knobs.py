"""The documented variables of a device, read as values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skerry.core.cyberwave import knobs as module
from skerry.core.cyberwave.knobs import Knobs, knobs_of, usable
from skerry.kit.errors import InvalidInput
from skerry.node.settings import find_settings

ROOT = Path(__file__).parents[2]


def test_nothing_said_is_what_the_documentation_says() -> None:
    knobs = knobs_of({})
    assert knobs == Knobs()
    assert (knobs.restart_threshold, knobs.restart_window) == (4, 60.0)
    assert (knobs.health_interval, knobs.workflow_interval) == (5.0, 300.0)
    assert knobs.troubleshooting_url == "https://docs.cyberwave.com"
    assert (knobs.router, knobs.router_port, knobs.data_backend) == (False, 7447, "zenoh")


@pytest.mark.parametrize(
    "name", ["CYBERWAVE_WORKER_CPU_PERCENT", "CYBERWAVE_WORKER_CPU_QUOTA_PERCENT"]
)
def test_case_45_the_share_of_a_processor_has_two_names(name: str) -> None:
    knobs = knobs_of({name: "150", "CYBERWAVE_WORKER_MEMORY_MB": "512"})
    assert (knobs.worker_cpu, knobs.worker_memory) == (150.0, 512 << 20)


def test_the_documented_name_of_the_share_comes_first() -> None:
    both = {"CYBERWAVE_WORKER_CPU_PERCENT": "50", "CYBERWAVE_WORKER_CPU_QUOTA_PERCENT": "75"}
    assert knobs_of(both).worker_cpu == 75.0


def test_rounds_of_edge_core_are_seconds() -> None:
    assert knobs_of({"CYBERWAVE_WORKER_SYNC_INTERVAL_LOOPS": "4"}).workflow_interval == 60.0


def test_health_is_told_once_a_second_at_most() -> None:
    assert (
        knobs_of({"CYBERWAVE_EDGE_HEALTH_PUBLISH_INTERVAL_SECONDS": "0.2"}).health_interval == 1.0
    )


@pytest.mark.parametrize(
    ("said", "environment"), [("Dev", "dev"), ("production", ""), ("PRODUCTION", ""), ("", "")]
)
def test_an_environment_has_one_name(said: str, environment: str) -> None:
    assert knobs_of({"CYBERWAVE_ENVIRONMENT": said}).environment == environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CYBERWAVE_DRIVER_RESTART_LOOP_THRESHOLD", "four"),
        ("CYBERWAVE_DRIVER_RESTART_LOOP_THRESHOLD", "0"),
        ("CYBERWAVE_DRIVER_RESTART_LOOP_THRESHOLD", "4.5"),
        ("CYBERWAVE_DRIVER_RESTART_LOOP_WINDOW_SECONDS", "nan"),
        ("CYBERWAVE_WORKER_MEMORY_MB", "-1"),
        ("CYBERWAVE_WORKER_MEMORY_MB", "5"),  # engines refuse it
        ("CYBERWAVE_WORKER_CPU_PERCENT", "inf"),
        ("CYBERWAVE_DATA_BACKEND", "pigeons"),
        ("CYBERWAVE_DATA_DIR", "bus"),
        ("CYBERWAVE_DATA_DIR", "/data/.."),
        ("CYBERWAVE_EDGE_LOG_LEVEL", "loud"),
        ("ZENOH_ROUTER_ENABLED", "maybe"),
        ("ZENOH_ROUTER_PORT", "70000"),
    ],
)
def test_what_cannot_be_used_is_told_and_has_its_default(name: str, value: str) -> None:
    knobs = knobs_of({name: value})
    [fault] = knobs.faults
    assert name in fault
    assert value in fault
    assert knobs == Knobs(faults=knobs.faults, wrong=(name,))
    assert usable({name: value, "CYBERWAVE_X": "y"}) == {"CYBERWAVE_X": "y"}


def test_programs_are_handed_the_backend_as_their_sdk_writes_it() -> None:
    assert usable({"CYBERWAVE_DATA_BACKEND": " FileSystem"}) == {
        "CYBERWAVE_DATA_BACKEND": "filesystem"
    }
    assert usable({"ZENOH_LISTEN": "tcp/0.0.0.0:7447"}) == {"ZENOH_LISTEN": "tcp/0.0.0.0:7447"}


def test_words_of_truth() -> None:
    assert knobs_of({"ZENOH_ROUTER_ENABLED": "1"}).router
    assert not knobs_of({"ZENOH_ROUTER_ENABLED": "False"}).router
    assert not knobs_of({"CYBERWAVE_MACOS_STRIP_VIDEO_DEVICE_PARAMS": "no"}).strip_video_devices


def test_every_variable_is_documented() -> None:
    page = (ROOT / "docs/reference/cyberwave.md").read_text()
    assert module.__file__ is not None
    names = set(re.findall(r'"((?:CYBERWAVE|ZENOH)_[A-Z_]+)"', Path(module.__file__).read_text()))
    assert len(names) > 10
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_the_port_that_clients_take_for_tls_is_refused() -> None:
    with pytest.raises(InvalidInput, match="8883 is MQTT's port for TLS"):
        find_settings([], options={"cyberwave.mqtt_port": "8883"}, environment={})


def test_variables_of_drivers_are_named_and_never_all_of_them() -> None:
    path = "cyberwave.driver_variables"
    found = find_settings([], options={path: '["ARM_*", SPEED]'}, environment={})
    assert found[path].value == ["ARM_*", "SPEED"]
    for wrong in ("*", "A=1", "*_PATH"):
        with pytest.raises(InvalidInput, match="is no name of a variable"):
            find_settings([], options={path: f'["{wrong}"]'}, environment={})
