"""Which twins a device serves, by which driver, under which names."""

import pytest

from skerry.core.cyberwave.drivers import Driver, Platform, chosen, tagged
from skerry.core.cyberwave.linking import (
    camera_config,
    children_of,
    edge_config,
    is_camera,
    is_linked,
    parent_of,
)
from skerry.core.cyberwave.names import driver_container, fingerprint, is_uuid, topic_prefix
from skerry.core.cyberwave.schemas import ASSET, TWIN, completed
from skerry.kit.errors import InvalidInput

ONE = "11111111-0000-4000-8000-000000000001"
LIKE_ONE = "11111111-0000-4000-8000-000000000002"
OTHER = "22222222-0000-4000-8000-000000000001"
LINUX = Platform("Linux", "x86_64")


def with_metadata(**metadata: object) -> dict[str, object]:
    return {"metadata": metadata}


def test_a_fingerprint_is_the_one_that_the_sdk_makes() -> None:
    assert fingerprint("Pi.lab One-long-name", 0x0242AC110002, "Linux", "aarch64") == (
        "pi-lab-one-long-93ff3e8447db"
    )
    assert fingerprint("fourteen-chars.", 0x1, "Linux", "x86_64").startswith("fourteen-chars-")


@pytest.mark.parametrize(
    ("environment", "prefix"),
    [("", ""), ("production", ""), ("PRODUCTION", ""), ("dev", "dev"), ("Local", "local")],
)
def test_topics_begin_with_the_environment(environment: str, prefix: str) -> None:
    assert topic_prefix(environment) == prefix


def test_containers_of_twins_whose_first_digits_are_equal_have_names_of_their_own() -> None:
    assert driver_container(ONE, [ONE, OTHER]) == "cyberwave-driver-11111111"
    names = {driver_container(one, [ONE, LIKE_ONE, OTHER]) for one in (ONE, LIKE_ONE, OTHER)}
    assert names == {f"cyberwave-driver-{name}" for name in (ONE, LIKE_ONE, "22222222")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "AAAAAAAA-0000-4000-8000-000000000001",
        ONE.replace("-", ""),
        f"{ONE}/..",
        f"{{{ONE}}}",
    ],
)
def test_only_one_form_is_a_uuid(text: str) -> None:
    assert is_uuid(ONE)
    assert not is_uuid(text)


@pytest.mark.parametrize(
    ("metadata", "linked"),
    [
        ({"edge_fingerprint": "me"}, True),
        ({"edge_fingerprint": "you"}, False),
        ({"edge_configs": {"edge_fingerprint": "me"}}, True),
        ({"edge_configs": {"me": {}}}, True),
        ({"edge_fingerprint": "you", "edge_configs": {"me": {}}}, False),
        ({"edge_fingerprint": None, "edge_configs": {"me": {}}}, True),
        ({"edge_configs": ["me"]}, False),
        ({}, False),
    ],
)
def test_a_twin_is_linked_by_any_of_its_shapes(metadata: dict[str, object], linked: bool) -> None:
    assert is_linked({"metadata": metadata}, "me") is linked
    assert not is_linked({"metadata": None}, "me")


def test_the_camera_is_found_in_every_shape() -> None:
    camera = {"source": "rtsp://x"}
    assert (
        camera_config(edge_config(with_metadata(edge_configs={"camera_config": camera}), "me"))
        == camera
    )
    assert (
        camera_config(edge_config(with_metadata(edge_configs={"me": {"cameras": [camera]}}), "me"))
        == camera
    )
    assert camera_config(edge_config(with_metadata(edge_configs=camera), "me")) == camera
    assert camera_config(edge_config({}, "me")) == {}


def test_a_child_names_its_parent_in_the_field_or_in_the_metadata() -> None:
    twins = {
        ONE: {},
        LIKE_ONE: {"attach_to_twin_uuid": ONE},
        OTHER: {"attach_to_twin_uuid": None, **with_metadata(attach_to_twin_uuid=ONE)},
    }
    assert parent_of(twins[ONE]) is None
    assert children_of(ONE, twins) == [LIKE_ONE, OTHER]


@pytest.mark.parametrize(
    ("twin", "asset", "sees"),
    [
        ({}, {"universal_schema": {"sensors": [{"type": "imu"}, {"type": "RGBD"}]}}, True),
        ({"capabilities": {"sensors": ["camera"]}}, {}, True),
        ({}, {"registry_id": "intel/RealSense-d455"}, True),
        (
            {},
            {"universal_schema": {"sensors": [{"type": "lidar"}]}, "registry_id": "x/lidar"},
            False,
        ),
        ({"capabilities": None}, {"universal_schema": None}, False),
    ],
)
def test_a_camera_is_known_by_its_sensors_or_its_model(
    twin: dict[str, object], asset: dict[str, object], sees: bool
) -> None:
    assert is_camera(twin, asset) is sees


def image_of(drivers: object, platform: Platform = LINUX, *children: dict[str, object]) -> str:
    found = chosen(with_metadata(drivers=drivers), {}, children, platform)
    assert found is not None
    return found.image


def test_the_platforms_driver_comes_before_the_default() -> None:
    drivers = {
        key: {"docker_image": key} for key in ("default", "darwin-arm64", "linux-x86_64", "linux")
    }
    assert image_of(drivers) == "linux-x86_64"
    del drivers["linux-x86_64"]
    assert image_of(drivers) == "linux"
    del drivers["linux"]
    assert image_of(drivers) == "default"
    assert image_of(drivers, Platform("Darwin", "arm64")) == "darwin-arm64"


def test_aliases_and_boards() -> None:
    assert Platform("Linux", "aarch64", jetson=True).keys()[:2] == [
        "linux-aarch64-jetson",
        "linux-arm64-jetson",
    ]
    assert image_of({"linux-amd64": "a", "default": "b"}) == "a"
    assert image_of({"win32": "a", "default": "b"}, Platform("Windows", "AMD64")) == "a"


def test_a_childs_driver_comes_first_where_there_are_several() -> None:
    drivers = {"default": "d", "acme/cam": "c", "linux": "l"}
    assert image_of(drivers, LINUX, {"registry_id": "acme/cam"}) == "c"
    assert image_of({"default": "d", "linux": "l"}, LINUX, {"registry_id": "default"}) == "l"


def test_the_twins_drivers_come_before_the_assets() -> None:
    asset = with_metadata(drivers={"default": {"docker_image": "asset", "params": ["-e", "A=1"]}})
    of_asset = Driver("default", "asset", ("-e", "A=1"), of_asset=True)
    assert chosen({}, asset, (), LINUX) == of_asset
    assert chosen(with_metadata(drivers={"default": "twin"}), asset, (), LINUX) == Driver(
        "default", "twin"
    )
    assert chosen({}, {}, (), LINUX) is None
    native = with_metadata(drivers={"default": {"command": ["python3", "driver.py"]}})
    assert chosen(native, {}, (), LINUX) == Driver("default", command=("python3", "driver.py"))


@pytest.mark.parametrize(
    ("drivers", "words"),
    [
        ([1], "no object of platforms"),
        ({"darwin": "x"}, "no driver is for linux-x86_64: there are darwin"),
        ({"default": 3}, "is no object with «docker_image»"),
        ({"default": {}}, "has no «docker_image»"),
        ({"default": {"docker_image": "a", "params": "-e A=1"}}, "«params» is no list of words"),
        ({"default": {"docker_image": "a", "params": [["-e"]]}}, "something else than words"),
    ],
)
def test_a_driver_that_cannot_be_read_is_told(drivers: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        chosen(with_metadata(drivers=drivers), {}, (), LINUX)


@pytest.mark.parametrize(
    ("image", "environment", "whole"),
    [
        ("acme/cam", "", "acme/cam"),
        ("acme/cam", "production", "acme/cam"),
        ("acme/cam", "Dev", "acme/cam:dev"),
        ("acme/cam:2", "dev", "acme/cam:2"),
        ("localhost:5000/cam", "dev", "localhost:5000/cam:dev"),
        (f"acme/cam@sha256:{'0' * 64}", "dev", f"acme/cam@sha256:{'0' * 64}"),
    ],
)
def test_an_image_without_a_tag_is_the_environments(
    image: str, environment: str, whole: str
) -> None:
    assert tagged(image, environment) == whole


def test_a_body_has_every_key_that_the_sdk_requires_and_keeps_its_own() -> None:
    twin = completed(
        TWIN, ONE, {"uuid": "x", "name": "arm", "description": None, "urdf_file": None, "mine": 1}
    )
    assert twin.keys() >= TWIN.keys()
    assert (twin["uuid"], twin["name"], twin["description"], twin["urdf_file"]) == (
        ONE,
        "arm",
        "",
        None,
    )
    assert twin["mine"] == 1
    twin["metadata"]["changed"] = True
    assert TWIN["metadata"] == {}
    assert completed(ASSET, ONE, {"registry_id": None})["registry_id"] is None
