"""Which drivers run on a device, and why others do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.driver_rig import (
    ARM,
    CAMERA,
    HERE,
    OTHER,
    TWIN_OF_ARM,
    camera,
    device,
    driver,
    only,
    plans,
    trouble,
    twin,
    with_config,
)

from skerry.core.cyberwave.drivers import Platform


def test_case_13_a_camera_child_is_given_to_its_parents_driver() -> None:
    found = plans(twin(), camera())
    assert [plan.twin for plan in found.drivers] == [ARM]
    assert found.drivers[0].children == (CAMERA,)
    assert not found.troubles


def test_a_camera_whose_parent_is_not_of_this_device_has_a_driver_of_its_own() -> None:
    assert only(camera()).twin == CAMERA


def test_a_camera_on_a_camera_goes_to_the_one_that_runs_and_two_on_each_other_both_run() -> None:
    second = "9c1f0c1e-0000-4000-8000-000000000004"
    chain = plans(twin(), camera(), camera(second, CAMERA))
    assert [plan.children for plan in chain.drivers] == [(CAMERA, second)]
    circle = plans(camera(CAMERA, second), camera(second, CAMERA))
    assert [plan.twin for plan in circle.drivers] == [CAMERA, second]


def test_case_15_the_most_specific_key_of_the_platform_is_taken() -> None:
    keys = {"default": "d", "darwin-arm64": "m", "linux-x86_64": "x", "linux": "l"}
    drivers: dict[str, object] = {key: driver(f"example/{image}:1") for key, image in keys.items()}
    seen = []
    for key in ("linux-x86_64", "linux", "default"):
        seen.append(only(twin(drivers=drivers)).driver.image)
        del drivers[key]
    assert seen == ["example/x:1", "example/l:1", "example/d:1"]
    assert "no driver is for linux-x86_64" in trouble(twin(drivers=drivers))


def test_the_driver_for_a_childs_model_comes_before_those_of_the_platform() -> None:
    drivers = {"default": driver(), "example/standard-cam": driver("example/with-camera:1")}
    assert only(twin(drivers=drivers), camera()).driver.image == "example/with-camera:1"
    gripper = replace(
        twin(OTHER, x=1),
        body={**twin(OTHER, x=1).body, "attach_to_twin_uuid": ARM},
        asset={"registry_id": "example/gripper"},
    )
    drivers["example/gripper"] = driver("example/with-gripper:1")
    assert only(twin(drivers=drivers), gripper).driver.image == "example/with-gripper:1"
    assert only(twin(drivers=drivers), gripper, camera()).driver.image == "example/with-camera:1"
    alone = {"example/standard-cam": driver("example/with-camera:1")}
    assert "no driver is for" in trouble(twin(drivers=alone), camera())


def test_the_assets_drivers_are_taken_where_the_twin_has_none() -> None:
    asset = {
        "registry_id": "example/arm",
        "metadata": {"drivers": {"default": driver("example/asset:2")}},
    }
    served = replace(twin(x=1), asset=asset)
    assert only(served).driver.image == "example/asset:2"


def test_case_17_a_twin_without_drivers_is_told_of_and_the_others_run() -> None:
    found = plans(twin(), twin(OTHER, x=1))
    assert [plan.twin for plan in found.drivers] == [ARM]
    assert [(one.twin, one.kind) for one in found.troubles] == [(OTHER, "error")]
    assert found.troubles[0].text.startswith("No drivers specified: ")


def test_a_child_without_drivers_is_its_parents_affair() -> None:
    child = replace(twin(OTHER, x=1), body={**twin(OTHER, x=1).body, "attach_to_twin_uuid": ARM})
    assert only(twin(), child).twin == ARM


@pytest.mark.parametrize("drivers", [[], "x", {"default": {}}, {"default": {"docker_image": 3}}])
def test_drivers_that_cannot_be_read_are_told_of_and_the_others_run(drivers: object) -> None:
    found = plans(twin(drivers=drivers), twin(OTHER))
    assert [plan.twin for plan in found.drivers] == [OTHER]
    assert len(found.troubles) == 1


DIGITS = "9" * 5000
PARAMS_OF_NOBODY = [
    *(["--cpus", text] for text in ("inf", "nan", "1e300", DIGITS)),
    *([name, "9" * 400] for name in ("--memory", "--memory-swap", "--shm-size", "--memory-reservation")),
    *([name, DIGITS] for name in ("--memory", "--pids-limit", "--cpu-quota", "--gpus", "-p", "--expose", "--oom-score-adj")),
    ["-p", f"{DIGITS}:80"],
    ["-p", f"80:{DIGITS}/udp"],
    ["--ulimit", f"nofile={DIGITS}"],
    ["--ulimit", f"nofile={1 << 63}"],
    *([name, f"/dev/video0{chr(0)}"] for name in ("--device", "-v", "--env-file", "-e", "--entrypoint")),
    ["-v", "/dev/\0video0:/x:ro"],
    ["-v", "/dev/\ud800:/x:ro"],
    ["--env-file", "/srv/nowhere/config/\ud800"],
    [9**9000],
    *([f"{name}=--"] for name in ("--shm-size", "--memory", "--entrypoint", "--env", "--device", "--network")),
    ["-e--"],
]  # fmt: skip


@pytest.mark.parametrize("params", PARAMS_OF_NOBODY)
def test_no_row_keeps_the_drivers_of_others_from_running(params: list[str]) -> None:
    found = plans(twin(ARM, *params), twin(OTHER))
    assert [plan.twin for plan in found.drivers] == [OTHER]
    assert [(one.twin, one.kind) for one in found.troubles] == [(ARM, "driver_start_failure")]
    assert "\0" not in found.troubles[0].text
    assert "Error" not in found.troubles[0].text


@given(
    st.sampled_from(["--cpus", "-m", "--gpus", "-p", "--ulimit", "--env-file", "--device", "-v", "--mount", "--network", "-e", "--tmpfs"]),
    st.one_of(st.text(), st.from_regex(r"[-/a-z0-9:=,.]*"), st.integers().map(str), st.floats().map(str)),
)  # fmt: skip
def test_whatever_a_row_says_the_drivers_of_others_run(option: str, word: str) -> None:
    found = plans(twin(ARM, option, word), twin(OTHER))
    assert OTHER in [plan.twin for plan in found.drivers]


def test_two_twins_whose_first_digits_are_equal_have_containers_of_different_names() -> None:
    names = [plan.name for plan in plans(twin(), twin(TWIN_OF_ARM), twin(OTHER)).drivers]
    assert len(set(names)) == 3
    assert names[2] == f"cyberwave-driver-{OTHER[:8]}"
    assert only(twin()).name == f"cyberwave-driver-{ARM[:8]}"


def test_an_image_without_a_tag_has_that_of_the_environment() -> None:
    bare = twin(drivers={"default": "registry:5000/arm"})
    assert (
        only(bare, on=device(HERE, CYBERWAVE_ENVIRONMENT="Dev")).driver.image
        == "registry:5000/arm:dev"
    )
    assert (
        only(bare, on=device(HERE, CYBERWAVE_ENVIRONMENT="Production")).driver.image
        == "registry:5000/arm"
    )


def test_an_override_replaces_the_image_and_its_params() -> None:
    for key in (ARM, "example/arm"):
        on = with_config(device(HERE), overrides={key: "mine/arm:3"})
        plan = only(twin(ARM, "-e", "A=1"), on=on)
        assert (plan.driver.image, plan.variables) == ("mine/arm:3", {})


def test_the_last_network_counts_and_the_node_is_reached_by_its_address_there() -> None:
    plan = only(twin(ARM, "--network", "one", "--net=two"), one="10.0.0.1", two="10.0.1.1")
    assert (plan.network, plan.host) == ("two", "10.0.1.1")
    assert (only(twin()).network, only(twin()).host) == ("host", "127.0.0.1")


def test_a_network_that_was_not_looked_up_yet_leaves_its_driver_undecided() -> None:
    found = plans(twin(ARM, "--network", "two"), twin(OTHER))
    assert [plan.twin for plan in found.drivers] == [OTHER]
    assert found.networks == {"two"}


def test_an_unknown_network_is_told_of_and_the_documentations_local_is_the_devices_own() -> None:
    assert "has no network «two»" in trouble(twin(ARM, "--network", "two"), two="")
    found = plans(twin(ARM, "--network", "local", "--add-host", "a:host-gateway"), local="")
    assert [(plan.network, plan.host) for plan in found.drivers] == [("host", "127.0.0.1")]
    assert found.troubles[0].kind == "driver_health"
    assert only(twin(ARM, "--network", "local"), local="10.0.2.1").network == "local"


def test_what_topics_begin_with_is_the_devices_to_say() -> None:
    on = device(HERE, CYBERWAVE_ENVIRONMENT="Dev")
    for name, text in (
        ("CYBERWAVE_TOPIC_PREFIX", "lab"),
        ("CYBERWAVE_ENVIRONMENT", "prod"),
        ("CYBERWAVE_ENVIRONMENT", "Dev"),  # the SDK takes it as it is written
    ):
        (found,) = plans(twin(ARM, "-e", f"{name}={text}"), on=on).troubles
        assert found.kind == "driver_health"
        assert f"params: {name}: only the device says" in found.text
    assert not plans(twin(ARM, "-e", "CYBERWAVE_ENVIRONMENT=dev"), on=on).troubles


def test_no_driver_gets_a_secret_of_the_device_or_a_label_of_the_node() -> None:
    on = device(HERE, CYBERWAVE_API_KEY="cw_fleet")
    assert "a secret of the device" in trouble(twin(ARM, "-e", "CYBERWAVE_API_KEY"), on=on)
    assert "belongs to the node" in trouble(twin(ARM, "-l", "io.skerry.node=x"))
    assert "params:" in trouble(twin(ARM, "--no-such-option"))


def test_on_a_mac_the_node_is_the_engines_host() -> None:
    on = replace(device(HERE), platform=Platform("Darwin", "arm64"))
    plan = only(twin(), on=on)
    assert (plan.network, plan.host) == ("", "host.docker.internal")
