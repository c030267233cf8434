"""Case 51: a device's own command for the device nodes of its drivers, where containers have none."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.driver_rig import ARM, Rig, camera, device, twin

from skerry.core.cyberwave.bridge_command import SECONDS, Wanted, applied, command, resolved, wanted
from skerry.core.cyberwave.drivers import Platform
from skerry.core.cyberwave.run_options import parsed
from skerry.kit.errors import InvalidInput, Refused
from skerry.node.drivers.bridging import run_command
from skerry.node.ports import ContainerLaunch

NODE = Wanted("/dev/video2", "/dev/video0")
RTSP = "rtsp://host.docker.internal:8554/cam0"
TEMPLATE = "bridge --device {host_device} --target {container_device} --twin {twin_uuid}"


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (f'{{"resolved_device":"{RTSP}"}}', RTSP),
        (f'{{"video_source":"{RTSP}"}}\n', RTSP),
        (f'started\n{{"resolved_device":"{RTSP}"}}\n', RTSP),
        (f"resolved_device=rtsp://old\nlog\nresolved_device={RTSP}\n", RTSP),
        (f"starting the bridge\n{RTSP}\n", RTSP),
        ("the bridge is up\n", "/dev/video0"),
        ("", "/dev/video0"),
        ('{"resolved_device":3}', "/dev/video0"),
        ('{"other":1}', "/dev/video0"),
        ("[1]\nall is well", "/dev/video0"),
    ],
)
def test_case_51_what_a_command_prints(printed: str, expected: str) -> None:
    assert resolved(printed, NODE) == expected


def test_case_51_words_are_split_before_anything_is_put_in() -> None:
    words = command(
        "b '{host_device} x' {config_dir} {container_name}",
        NODE,
        twin=ARM,
        container="c",
        directory="/a b; rm",
    )
    assert words == ["b", "/dev/video2 x", "/a b; rm", "c"]


@pytest.mark.parametrize("template", ["b {nope}", "b {}", "b 'x", " ", "b {host_device.x}"])
def test_case_51_a_template_that_is_wrong_is_none(template: str) -> None:
    with pytest.raises(InvalidInput, match="CYBERWAVE_MACOS_DEVICE_BRIDGE_COMMAND"):
        command(template, NODE, twin=ARM, container="c", directory="/d")


def test_each_node_once_and_the_usual_one_for_cameras() -> None:
    options = parsed(["--device", "/dev/video2:/dev/video0", "--device=/dev/video2:/dev/video0"])
    assert wanted(options, camera=True) == [NODE]
    assert wanted(parsed([]), camera=True) == [Wanted("/dev/video0", "/dev/video0")]
    assert wanted(parsed([]), camera=False) == []


def test_nodes_that_are_elsewhere_are_not_asked_for_any_more() -> None:
    options = parsed(["--device", "/dev/video2:/dev/video0", "--device", "/dev/ttyUSB0"])
    serial = Wanted("/dev/ttyUSB0", "/dev/ttyUSB0")
    found = {NODE: RTSP, serial: "/dev/video9"}
    stripped, variables = applied(options, found, strip=True)
    assert [one["PathOnHost"] for one in stripped.host["Devices"]] == ["/dev/ttyUSB0"]
    assert variables["CYBERWAVE_METADATA_VIDEO_DEVICE"] == RTSP
    assert json.loads(variables["CYBERWAVE_EDGE_VIDEO_DEVICE_MAP"]) == {"/dev/video0": RTSP}
    assert applied(options, found, strip=False)[0] == options
    assert applied(options, {NODE: "/dev/video0"}, strip=True) == (options, {})


async def on_mac(directory: Path, answer: str | None, *params: str, **more: str) -> Rig:
    """Its command prints this, or fails."""
    variables = {"CYBERWAVE_MACOS_DEVICE_BRIDGE_COMMAND": TEMPLATE, **more}
    on = replace(device(directory, **variables), platform=Platform("Darwin", "arm64"))
    rig = Rig(directory, twin(ARM, *params), on=on)

    async def run(words: Sequence[str]) -> str:
        rig.commands.append(list(words))
        if answer is None:
            raise Refused("it ended with 1")
        return answer

    rig.run = run
    await rig.look()
    return rig


async def test_case_51_the_driver_is_given_what_its_command_has_found(tmp_path: Path) -> None:
    params = ["--device", "/dev/video2:/dev/video0", "-e", "A=1"]
    rig = await on_mac(tmp_path, RTSP, *params)
    launch = await rig.launch()
    assert isinstance(launch, ContainerLaunch)
    assert "Devices" not in launch.extras.host
    assert launch.environment["CYBERWAVE_METADATA_VIDEO_DEVICE"] == RTSP
    assert json.loads(launch.environment["CYBERWAVE_EDGE_VIDEO_DEVICE_MAP"]) == {
        "/dev/video0": RTSP
    }
    assert rig.commands == [
        ["bridge", "--device", "/dev/video2", "--target", "/dev/video0", "--twin", ARM]
    ]
    kept = await on_mac(tmp_path, RTSP, *params, CYBERWAVE_MACOS_STRIP_VIDEO_DEVICE_PARAMS="false")
    left = await kept.launch()
    assert isinstance(left, ContainerLaunch)
    assert len(left.extras.host["Devices"]) == 1


async def test_case_51_a_command_that_fails_keeps_its_driver_from_being_started(
    tmp_path: Path,
) -> None:
    rig = await on_mac(tmp_path, None, "--device", "/dev/video2")
    assert rig.workloads.wanted() == []
    (told,) = rig.workloads.troubles
    assert (told.kind, told.twin) == ("driver_start_failure", ARM)
    assert "ended with 1" in told.text


async def test_a_cameras_parent_gets_the_usual_node(tmp_path: Path) -> None:
    rig = await on_mac(tmp_path, RTSP)
    assert rig.commands == []
    rig.served = [twin(), camera()]
    await rig.look()
    assert rig.commands[0][2] == "/dev/video0"


async def test_case_51_a_real_command_its_end_and_its_absence() -> None:
    assert await run_command([sys.executable, "-c", "print('x')"]) == "x\n"
    with pytest.raises(Refused, match=r"ended with 3: why"):
        await run_command(
            [sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"]
        )
    with pytest.raises(Refused, match="No such file"):
        await run_command(["/nowhere/bridge"])
    with pytest.raises(Refused, match=r"did not end within 0\.2 s"):
        await run_command(["sleep", "100"], 0.2)
    assert SECONDS == 60
