"""Files of the configuration directory that cannot be read: what they said before holds, over the end of an agent, too."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.config_rig import ENVIRONMENT, OTHER, TWIN, Kept, config_in, put

from skerry.node.twin_ports import FORGOTTEN

WRONG = ("half", "empty", "a directory", "no JSON object")


def spoil(file: Path, how: str) -> None:
    """As an editor that was killed, a disk that has lost its end, or a mistake leaves it."""
    text = file.read_text()
    file.unlink()
    if how == "a directory":
        file.mkdir()
    else:
        put(file, {"half": text[: len(text) // 2], "empty": "", "no JSON object": "[]"}[how])


@pytest.mark.guarantee("G2", "G8")
@pytest.mark.parametrize("how", WRONG)
async def test_files_that_cannot_be_read_at_a_start_say_what_they_said_before(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept()
    contents: dict[str, object] = {
        "credentials.json": {
            "token": "cw_secret",
            "envs": {"CYBERWAVE_ENVIRONMENT": "dev", "CYBERWAVE_EDGE_UUID": ""},
            "driver_overrides": {TWIN: "acme/arm:2"},
        },
        "fingerprint.json": {"fingerprint": "arm-1"},
        "environment.json": {"uuid": ENVIRONMENT},
        "edge.json": {"metadata": {"cameras": {"twin_to_device": {TWIN: 3}}}},
        "cameras.json": {"twin_to_device": {OTHER: 4}},
    }
    for name, content in contents.items():
        put(tmp_path / name, content)
    known = await config_in(tmp_path, kept=kept).open()
    assert kept.body is not None
    assert b"cw_secret" not in kept.body
    for name in contents:
        spoil(tmp_path / name, how)
    directory = config_in(tmp_path, kept=kept)
    now = await directory.open()
    assert replace(now, token="", faults=()) == replace(known, token="")
    assert (directory.barred(), directory.in_doubt) == ("", False)
    for name in contents:
        assert sum(f"{name} " in record.getMessage() for record in caplog.records) == 1
    caplog.clear()
    os.utime(tmp_path / "edge.json")
    await directory.look()
    assert not caplog.records

    for name, content in contents.items():
        (tmp_path / name).rmdir() if how == "a directory" else (tmp_path / name).unlink()
        put(tmp_path / name, content)
    await directory.look()
    assert directory.config == known
    (tmp_path / "environment.json").unlink()
    (tmp_path / "credentials.json").unlink()
    assert (await config_in(tmp_path, kept=kept).open()).environment == ""
    assert (await config_in(tmp_path, kept=kept).open()).signed_in is False


@pytest.mark.guarantee("G9")
async def test_no_address_of_a_camera_is_kept(tmp_path: Path) -> None:
    kept = Kept()
    cameras = {"twin_to_device": {TWIN: "rtsp://a:hunter2@cam.lan/1", OTHER: 4}}
    put(tmp_path / "cameras.json", cameras | {"selected_device": 5})
    directory = config_in(tmp_path, kept=kept)
    known = await directory.open()
    assert known.video_device(TWIN) == "rtsp://a:hunter2@cam.lan/1"
    before = msgspec.json.encode(directory._known, order="sorted")
    assert b"hunter2" in before
    assert b"hunter2" not in (kept.body or b"")
    kept.body = before  # as a node before this one has kept it
    spoil(tmp_path / "cameras.json", "half")
    again = await config_in(tmp_path, kept=kept).open()
    assert b"hunter2" not in kept.body
    assert [again.video_device(twin) for twin in (TWIN, OTHER)] == [FORGOTTEN, "/dev/video4"]


async def test_what_could_not_be_kept_is_kept_at_a_later_look(tmp_path: Path) -> None:
    kept = Kept()
    kept.full = True
    file = put(tmp_path / "environment.json", {"uuid": ENVIRONMENT})
    directory = config_in(tmp_path, kept=kept)
    assert (await directory.open()).environment == ENVIRONMENT
    kept.full = False
    os.utime(file, (1, 1))
    await directory.look()
    spoil(file, "half")
    assert (await config_in(tmp_path, kept=kept).open()).environment == ENVIRONMENT


async def test_an_environment_that_could_never_be_read_is_in_doubt(tmp_path: Path) -> None:
    put(tmp_path / "environment.json", "{")
    directory = config_in(tmp_path)
    assert (await directory.open()).environment == ""
    assert directory.in_doubt
    said = config_in(tmp_path, ENVIRONMENT)
    assert (await said.open()).environment == ENVIRONMENT
    assert not said.in_doubt
    (tmp_path / "environment.json").unlink()
    await directory.look()
    assert not directory.in_doubt
