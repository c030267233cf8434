"""What drivers and workers of Cyberwave are started with."""

from msgspec.structs import replace

from skerry.node.contracts.cyberwave import (
    DriverFacts,
    Surroundings,
    WorkerFacts,
    driver_environment,
    worker_environment,
)

AROUND = Surroundings("http://127.0.0.1:18883", "127.0.0.1", 18884)
DRIVER = DriverFacts("t1", "cw_key", twin_file="/app/t1.json")


def test_a_driver_has_exactly_the_documented_variables() -> None:
    assert driver_environment(AROUND, DRIVER, {}) == {
        "CYBERWAVE_TWIN_UUID": "t1",
        "CYBERWAVE_API_KEY": "cw_key",
        "CYBERWAVE_TWIN_JSON_FILE": "/app/t1.json",
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


def test_what_there_may_be_besides() -> None:
    around = replace(AROUND, environment="dev", router="tcp/127.0.0.1:7447")
    driver = replace(DRIVER, children=["c2", "c1", "c2"], video_device="/dev/video3")
    found = driver_environment(around, driver, {})
    assert found["CYBERWAVE_CHILD_TWIN_UUIDS"] == "c2,c1"
    assert found["CYBERWAVE_METADATA_VIDEO_DEVICE"] == "/dev/video3"
    assert found["CYBERWAVE_ENVIRONMENT"] == "dev"
    assert found["ZENOH_CONNECT"] == "tcp/127.0.0.1:7447"
    said = {"ZENOH_CONNECT": "tcp/10.0.0.1:7447, tcp/127.0.0.1:7447"}
    both = driver_environment(replace(around, device=said), driver, {})
    assert both["ZENOH_CONNECT"] == "tcp/127.0.0.1:7447,tcp/10.0.0.1:7447"


def test_params_win_each_variable_is_there_once_and_their_order_stays() -> None:
    """Case 11."""
    params = {"ZENOH_SHARED_MEMORY": "true", "CYBERWAVE_DATA_BACKEND": "filesystem", "MINE": "1"}
    found = driver_environment(AROUND, DRIVER, params)
    assert found | params == found
    assert list(found)[-3:] == list(params)
    assert "ZENOH_SHARED_MEMORY" not in driver_environment(
        AROUND, DRIVER, {"CYBERWAVE_DATA_BACKEND": "filesystem"}
    )


def test_the_devices_own_variables_are_passed_on_but_no_secret_and_no_address_of_the_hub() -> None:
    device = {
        "CYBERWAVE_GPU_MEM_FRACTION": "0.5",
        "CYBERWAVE_EDGE_UUID": "boat-7",
        "CYBERWAVE_API_KEY": "fleet's",
        "CYBERWAVE_MQTT_PASSWORD": "p",
        "CYBERWAVE_SOME_TOKEN": "t",
        "CYBERWAVE_BASE_URL": "https://hub",
        "CYBERWAVE_MQTT_HOST": "hub",
        "HOME": "/root",
        "ZENOH_SHARED_MEMORY": "TRUE",
    }
    around = replace(AROUND, device=device)
    for found in (
        driver_environment(around, DRIVER, {}),
        worker_environment(around, WorkerFacts("e1", "cw_key", [])),
    ):
        assert found["CYBERWAVE_GPU_MEM_FRACTION"] == "0.5"
        assert found["CYBERWAVE_EDGE_UUID"] == "boat-7"  # the SDK asks for itself by it
        assert found["ZENOH_SHARED_MEMORY"] == "true"
        assert found["CYBERWAVE_MQTT_HOST"] == "127.0.0.1"
        assert not {"fleet's", "p", "t", "https://hub", "/root"} & set(found.values())


def test_workers_have_their_twins_in_one_order_and_both_names_of_shared_memory() -> None:
    found = worker_environment(AROUND, WorkerFacts("e1", "cw_key", ["b", "a"]))
    assert (found["CYBERWAVE_TWIN_UUIDS"], found["CYBERWAVE_TWIN_UUID"]) == ("a,b", "a")
    assert found["ZENOH_SHM_ENABLED"] == found["ZENOH_SHARED_MEMORY"] == "true"
    assert found["CYBERWAVE_ENVIRONMENT_UUID"] == "e1"
    assert found["CYBERWAVE_WORKER_STATUS_PATH"] == "/run/cyberwave/worker-status.json"
