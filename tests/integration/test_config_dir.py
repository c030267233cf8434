"""The configuration directory on a real disk: what is made of its files, and what others do with them meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.config_rig import ENVIRONMENT, HOST, OTHER, TWIN, Kept, config_in, put

from skerry.core.cyberwave.json_objects import object_of
from skerry.core.cyberwave.names import fingerprint
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput
from skerry.node.cyberwave.places import lead_to_models
from skerry.node.outside import Outside, written_outside
from skerry.node.twins.config_dir import (
    ConfigDirectory,
    Own,
    default_directory,
    disk_for,
)
from skerry.testing.waiting import eventually


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"[]"])
def test_what_is_no_object_is_said_to_be_none(text: bytes) -> None:
    with pytest.raises(InvalidInput, match="is no JSON"):
        object_of(text)


@contextlib.asynccontextmanager
async def running(directory: ConfigDirectory) -> AsyncIterator[None]:
    task = asyncio.create_task(directory.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_device_has_a_fingerprint_from_its_first_start_on(tmp_path: Path) -> None:
    path = tmp_path / "home" / ".cyberwave"
    config = await config_in(path).open()
    assert config.fingerprint == fingerprint("My Robot.lan", 0x0242AC110002, "Linux", "x86_64")
    assert json.loads((path / "fingerprint.json").read_text()) == {
        "fingerprint": config.fingerprint
    }
    assert mode(path / "fingerprint.json") == 0o600
    assert mode(path) == 0o700


async def test_a_fingerprint_that_is_stored_stays(tmp_path: Path) -> None:
    put(tmp_path / "fingerprint.json", {"fingerprint": "old-0123456789ab"})
    assert (await config_in(tmp_path).open()).fingerprint == "old-0123456789ab"


async def test_a_fingerprint_that_is_said_is_not_stored(tmp_path: Path) -> None:
    config = await config_in(tmp_path, CYBERWAVE_EDGE_UUID="bench-7").open()
    assert config.fingerprint == "bench-7"
    assert not (tmp_path / "fingerprint.json").exists()


async def test_a_fingerprint_file_that_cannot_be_read_is_told_and_left(tmp_path: Path) -> None:
    put(tmp_path / "fingerprint.json", "{")
    config = await config_in(tmp_path).open()
    assert config.fingerprint.startswith("my-robot-lan-")
    assert any("fingerprint.json" in fault for fault in config.faults)
    assert (tmp_path / "fingerprint.json").read_text() == "{"


async def test_the_agents_own_variables_come_before_those_of_the_credentials(
    tmp_path: Path,
) -> None:
    put(
        tmp_path / "credentials.json",
        {
            "token": "cw_secret",
            "envs": {
                "CYBERWAVE_ENVIRONMENT": "dev",
                "CYBERWAVE_DRIVER_RESTART_LOOP_THRESHOLD": 7,
                "CYBERWAVE_DATA_BACKEND": "pigeons",
                "CYBERWAVE_API_KEY": "cw_secret",
                "PATH": "/evil",
            },
            "driver_overrides": {TWIN: "acme/local:1", "../x": "acme/evil:1"},
        },
    )
    config = await config_in(
        tmp_path,
        CYBERWAVE_ENVIRONMENT="lab",
        ZENOH_LISTEN="tcp/127.0.0.1:1",
        CYBERWAVE_MQTT_PASSWORD="hunter2",
        HOME="/root",
    ).open()
    assert config.token == "cw_secret"
    assert config.variables == {
        "CYBERWAVE_ENVIRONMENT": "lab",
        "CYBERWAVE_DRIVER_RESTART_LOOP_THRESHOLD": "7",
        "ZENOH_LISTEN": "tcp/127.0.0.1:1",
    }
    assert config.overrides == {TWIN: "acme/local:1"}
    assert any("../x" in fault for fault in config.faults)
    assert any("pigeons" in fault for fault in config.faults)
    assert "cw_secret" not in f"{config!r}{config.faults}"


async def test_what_cannot_stand_before_topics_is_told_and_nobody_is_given_it(
    tmp_path: Path,
) -> None:
    envs = {"CYBERWAVE_TOPIC_PREFIX": "lab/#", "CYBERWAVE_ENVIRONMENT": "Dev"}
    put(tmp_path / "credentials.json", {"token": "cw_1", "envs": envs})
    config = await config_in(tmp_path).open()
    assert config.variables == {"CYBERWAVE_ENVIRONMENT": "Dev"}
    assert any("CYBERWAVE_TOPIC_PREFIX «lab/#» is no prefix" in fault for fault in config.faults)


async def test_credentials_that_others_can_read_are_made_their_owners(tmp_path: Path) -> None:
    file = put(tmp_path / "credentials.json", {"token": "cw_1"})
    file.chmod(0o644)
    await config_in(tmp_path).open()
    assert mode(file) == 0o600


async def test_no_link_is_followed_and_nothing_behind_it_is_changed(tmp_path: Path) -> None:
    directory = tmp_path / "config"
    directory.mkdir()
    elsewhere = put(tmp_path / "elsewhere", {"token": "cw_1"})
    elsewhere.chmod(0o644)
    (directory / "credentials.json").symlink_to(elsewhere)
    os.link(elsewhere, directory / "cameras.json")
    config = await config_in(directory).open()
    assert config.token == ""
    assert any("credentials.json" in fault and "link" in fault for fault in config.faults)
    assert mode(elsewhere) == 0o644


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"token": 4}', '{"token": ""}', "\xff"])
async def test_credentials_that_are_none_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials.json").write_bytes(text.encode("latin-1"))
    config = await config_in(tmp_path).open()
    assert config.token == ""
    assert any("credentials.json" in fault for fault in config.faults)


async def test_a_directory_or_a_pipe_in_the_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").mkdir()
    os.mkfifo(tmp_path / "edge.json")
    put(tmp_path / "cameras.json", "x" * (2 << 20))
    config = await config_in(tmp_path).open()
    assert {fault.split("/")[-1].split()[0] for fault in config.faults} >= {
        "credentials.json",
        "edge.json",
        "cameras.json",
    }


async def test_an_environment_is_one_whatever_way_its_uuid_is_written(tmp_path: Path) -> None:
    put(tmp_path / "environment.json", {"uuid": ENVIRONMENT.upper(), "name": "Lab"})
    assert (await config_in(tmp_path).open()).environment == ENVIRONMENT


async def test_without_an_environment_it_lives_with_a_warning(tmp_path: Path) -> None:
    assert (await config_in(tmp_path).open()).environment == ""
    put(tmp_path / "environment.json", {"uuid": "not-a-uuid"})
    config = await config_in(tmp_path).open()
    assert config.environment == ""
    assert any("environment.json" in fault for fault in config.faults)


async def test_the_settings_say_the_environment_before_the_file(tmp_path: Path) -> None:
    put(tmp_path / "environment.json", "{")
    config = await config_in(tmp_path, ENVIRONMENT).open()
    assert config.environment == ENVIRONMENT


async def test_an_environment_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    file = put(tmp_path / "environment.json", '{"uuid": "1111')
    opening = asyncio.create_task(config_in(tmp_path).open())
    await asyncio.sleep(0)
    await asyncio.to_thread(put, file, {"uuid": ENVIRONMENT})
    assert (await opening).environment == ENVIRONMENT


async def test_changes_are_seen_and_only_changes_ring(tmp_path: Path) -> None:
    directory = config_in(tmp_path)
    await directory.open()
    async with running(directory):
        put(tmp_path / "environment.json", {"uuid": ENVIRONMENT})
        await eventually(lambda: directory.config.environment == ENVIRONMENT, "it is read")
        rung = directory.changed.count
        put(tmp_path / f"{TWIN}.json", {})
        os.utime(tmp_path / "environment.json")
        (tmp_path / "environment.json").unlink()
        await eventually(lambda: directory.config.environment == "", "it is gone")
        assert directory.changed.count == rung + 1


async def test_cameras_by_twin(tmp_path: Path) -> None:
    third, fourth = TWIN[:-1] + "3", TWIN[:-1] + "4"
    put(
        tmp_path / "cameras.json",
        {"selected_device": 2, "twin_to_device": {OTHER: 9, TWIN: "1", "x": 3}},
    )
    newer = {
        "twin_to_device": {
            TWIN: "/dev/v4l/by-id/usb-cam",
            third: "serial:213722070420",
            fourth: "rtsp://cam.lan/1",
        },
        "selected_device": 4,
    }
    put(tmp_path / "edge.json", {"uuid": "e", "metadata": {"cameras": newer}})
    config = await config_in(tmp_path).open()
    assert config.video_device(TWIN) == "/dev/v4l/by-id/usb-cam"
    assert config.video_device(OTHER) == "/dev/video9"
    assert config.video_device(third) == ""
    assert config.video_device(fourth) == "rtsp://cam.lan/1"
    assert config.video_device(TWIN[:-1] + "5") == "/dev/video4"


async def test_case_53_files_of_an_older_version_are_copied_once(tmp_path: Path) -> None:
    legacy, path = tmp_path / "etc", tmp_path / "home" / ".cyberwave"
    legacy.mkdir()
    put(legacy / "credentials.json", {"token": "cw_old"}).chmod(0o644)
    put(legacy / "environment.json", {"uuid": ENVIRONMENT})
    put(legacy / f"{TWIN}.json", {"uuid": TWIN})
    put(legacy / "notes.txt", "not to be copied")
    (legacy / "odd.json").mkdir()
    path.mkdir(parents=True)
    put(path / "environment.json", {"uuid": OTHER})
    directory = config_in(path)
    config = await directory.open(legacy)
    assert config.token == "cw_old"
    assert config.environment == OTHER
    assert json.loads((path / f"{TWIN}.json").read_text()) == {"uuid": TWIN}
    assert not (path / "notes.txt").exists()
    assert not (path / "odd.json").exists()
    assert {mode(file) for file in path.glob("*.json")} == {0o600}
    (path / "credentials.json").unlink()
    assert (await config_in(path).open(legacy)).token == ""


async def test_a_migration_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    legacy, path = tmp_path / "etc", tmp_path / "config"
    legacy.mkdir()
    path.mkdir()
    put(legacy / "credentials.json", {"token": "cw_old"})
    put(legacy / "environment.json", {"uuid": ENVIRONMENT})
    put(path / "credentials.json", {"token": "cw_old"})
    assert (await config_in(path).open(legacy)).environment == ENVIRONMENT


async def test_a_link_that_waits_where_a_file_is_migrated_to_is_not_written_through(
    tmp_path: Path,
) -> None:
    legacy, path, prey = tmp_path / "etc", tmp_path / "config", tmp_path / "prey"
    legacy.mkdir()
    path.mkdir()
    put(legacy / "credentials.json", {"token": "cw_old"})
    (path / "credentials.json").symlink_to(prey)
    await config_in(path).open(legacy)
    assert not prey.exists()


def test_the_directory_is_the_users_who_became_root() -> None:
    homes = {"ada": Path("/home/ada")}
    root = Path("/root")
    assert default_directory({}, root, homes.get) == (Path("/root/.cyberwave"), True)
    assert default_directory({"SUDO_USER": "ada"}, root, homes.get) == (
        Path("/home/ada/.cyberwave"),
        True,
    )
    assert default_directory({"SUDO_USER": "gone"}, root, homes.get)[0] == root / ".cyberwave"
    said = {"SUDO_USER": "ada", "CYBERWAVE_EDGE_CONFIG_DIR": "/srv/cw"}
    assert default_directory(said, root, homes.get) == (Path("/srv/cw"), False)
    said = {"CYBERWAVE_EDGE_CONFIG_DIR": "~/cw"}
    assert default_directory(said, root, homes.get) == (Path("/root/cw"), False)


async def test_what_root_makes_in_a_users_directory_is_the_users(tmp_path: Path) -> None:
    home = tmp_path / "ada"
    home.mkdir()
    owner = (os.geteuid() or 12345, os.getegid() or 12346)
    os.chown(home, *owner)
    path = home / ".cyberwave"
    disk = disk_for(path, lambda *_: None)
    directory = ConfigDirectory(path, Own(), HOST, disk, SystemClock(), Kept())
    await directory.open()
    for each in (path, path / "fingerprint.json"):
        assert (each.stat().st_uid, each.stat().st_gid) == owner


async def test_models_are_found_where_the_documentation_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "data" / "models"
    directory = config_in(tmp_path / "config")
    await directory.open()
    for _ in range(2):
        directory.lead("models", cache)
        assert (tmp_path / "config" / "models").readlink() == cache
    (tmp_path / "config" / "models").unlink()
    (tmp_path / "config" / "models").mkdir()
    directory.lead("models", cache)
    assert not (tmp_path / "config" / "models").is_symlink()
    assert "cannot make link" not in caplog.text
    config_in(tmp_path / "gone").lead("models", cache)
    assert "cannot make link" in caplog.text


async def test_the_way_to_the_models_leads_somewhere_before_there_is_any(tmp_path: Path) -> None:
    data, config = tmp_path / "data", config_in(tmp_path / "config")
    await config.open()
    data.mkdir()
    lead_to_models(config, data, Outside(data, RealDisk()), RealDisk())
    shown = tmp_path / "config" / "models"
    assert shown.is_symlink()
    assert list(shown.iterdir()) == []
    assert mode(data / "models") == 0o755
    assert written_outside(data) == ([shown], [])


async def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = await config_in(tmp_path / "file" / ".cyberwave").open()
    assert config.fingerprint
    assert any(str(tmp_path / "file") in fault for fault in config.faults)


async def test_case_1_without_a_token_it_says_why_nothing_is_started(tmp_path: Path) -> None:
    directory = config_in(tmp_path)
    await directory.open()
    assert f"{tmp_path}/credentials.json has no token" in directory.barred()
    put(tmp_path / "credentials.json", {"token": "cw_1"})
    await directory.look()
    assert directory.barred() == ""
