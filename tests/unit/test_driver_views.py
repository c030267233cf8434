"""What drivers see of the configuration directory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.driver_rig import (
    ARM,
    CAMERA,
    OTHER,
    Rig,
    camera,
    device,
    twin,
    write_twins,
)

from skerry.kit.errors import InvalidInput

NAME = f"cyberwave-driver-{ARM[:8]}"


async def test_a_driver_sees_no_credentials_and_no_other_twin_in_the_configuration_directory(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, twin(), camera(), twin(OTHER))
    await rig.look()
    config = tmp_path / "config"
    (config / "credentials.json").write_text('{"token":"cw_fleet"}')
    (config / "fingerprint.json").write_text('{"fingerprint":"boat"}')
    (config / "remote_access_key").write_text("key")
    assignment = (await rig.look())[NAME]
    rig.workloads.launch_for(assignment, "i1")
    view = tmp_path / "views" / NAME
    assert {path.name: path.read_text() for path in view.iterdir()} == {
        "fingerprint.json": '{"fingerprint":"boat"}',
        "credentials.json": "",
        f"{ARM}.json": "",
        f"{CAMERA}.json": "",
    }
    rig.served = [twin()]
    rig.workloads.launch_for((await rig.look())[NAME], "i2")
    assert not (view / f"{CAMERA}.json").exists()


async def test_a_driver_is_shown_its_own_cameras_and_no_others(tmp_path: Path) -> None:
    secret = f"rtsp://a:hunter2@cam.lan/{OTHER}"
    cameras = {
        "selected_device": 4,
        "twin_to_device": {ARM: 1, CAMERA: "serial:7", OTHER: secret},
        "addresses": [secret],
    }
    rig = Rig(tmp_path, twin(), camera(), twin(OTHER))
    await rig.look()
    config, view = tmp_path / "config", tmp_path / "views" / NAME

    def put(name: str, content: object) -> None:
        (config / name).write_text(json.dumps(content))

    put("cameras.json", cameras)
    put("edge.json", {"uuid": "e", "url": secret, "metadata": {"cameras": cameras, "x": secret}})
    own = {"selected_device": 4, "twin_to_device": {ARM: 1, CAMERA: "serial:7"}}

    async def shown(instance: str) -> dict[str, object]:
        rig.workloads.launch_for((await rig.look())[NAME], instance)
        files = [view / name for name in ("cameras.json", "edge.json")]
        return {file.name: json.loads(file.read_text()) for file in files if file.exists()}

    whole = {"cameras.json": own, "edge.json": {"uuid": "e", "metadata": {"cameras": own}}}
    assert await shown("i1") == whole
    put("cameras.json", {"selected_device": secret, "twin_to_device": [secret]})
    (config / "edge.json").write_text('{"uuid"')
    assert await shown("i2") == whole | {"cameras.json": {}}
    (config / "cameras.json").write_text("[]")
    (config / "edge.json").unlink()
    rig.served = [twin(), twin(OTHER)]
    assert await shown("i3") == {"cameras.json": {}}


@pytest.mark.parametrize("native", [False, True])
async def test_no_driver_starts_with_a_link_in_the_place_of_a_twins_file(
    tmp_path: Path, native: bool
) -> None:
    """The engine would mount what it leads to, and its program could write there."""
    command = {"default": {"command": ["/usr/bin/arm"]}}
    arm = twin(ARM, drivers=command) if native else twin()
    rig = Rig(tmp_path, arm, camera(), on=device(tmp_path, "/usr/bin/arm"))
    before = await rig.look()
    (tmp_path / "elsewhere").touch()
    for uuid in (ARM, CAMERA):
        file = tmp_path / "config" / f"{uuid}.json"
        file.unlink()
        file.symlink_to(tmp_path / "elsewhere")
        assert await rig.look() == before, "what runs is not ended"
        with pytest.raises(InvalidInput, match=f"{uuid}.json is a link"):
            rig.workloads.launch_for(before[NAME], "i1")
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(InvalidInput, match=f"{uuid}.json is no file"):
            rig.workloads.launch_for(before[NAME], "i1")
        file.unlink()
    write_twins(tmp_path, rig.served)
    assert rig.workloads.launch_for(before[NAME], "i1") is not None


async def test_of_the_configuration_directory_only_files_of_bounded_size_are_shown(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, twin())
    await rig.look()
    config = tmp_path / "config"
    (config / "edge.json").write_bytes(b"{}".ljust(1 << 20))
    (config / "environment.json").write_bytes(b"x" * ((1 << 20) + 1))
    os.mkfifo(config / "cameras.json")
    (config / "fingerprint.json").symlink_to(config / "edge.json")
    rig.workloads.launch_for((await rig.look())[NAME], "i1")
    view = {path.name for path in (tmp_path / "views" / NAME).iterdir()}
    assert view == {"edge.json", "credentials.json", f"{ARM}.json"}
