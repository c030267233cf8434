"""Twins on a node beside a real hub: who wins what, files and rows kept the same, an agent killed at each step."""

import errno
import json
import logging
from pathlib import Path

import pytest
from tests.twin_bodies import ARM, ARM_ASSET, CAMERA, DEVICE, ENVIRONMENT, FOREIGN, arm
from tests.twin_site import Device, twin_site

from skerry.kit.disk import RealDisk
from skerry.node.twins.rows import ASSETS
from skerry.testing.waiting import eventually

MINE = {"edge_fingerprint": DEVICE}


class Killed(Exception):
    """Nothing of ours catches it."""


class Killing(RealDisk):
    """Ends the agent in the middle of rewriting a file: after so many bytes; None: when all is written."""

    def __init__(self, after: int | None) -> None:
        self._after = after

    def rewrite(self, label: str, path: Path, text: bytes, most: int) -> None:
        if self._after is None:
            super().rewrite(label, path, text, most)
        elif self._after:
            with path.open("rb+") as file:
                file.write(text[: self._after])
        raise Killed


class Sticking(RealDisk):
    """One file cannot be removed."""

    def __init__(self, stuck: Path) -> None:
        self._stuck = stuck

    def unlink(self, label: str, path: Path) -> None:
        if path == self._stuck:
            raise OSError(errno.EPERM, "Operation not permitted", str(path))
        super().unlink(label, path)


async def test_only_the_twins_of_the_device_are_its_own(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        await site.put(CAMERA, arm(name="eye", attach_to_twin_uuid=ARM))
        await site.shows(device, "name", "eye", CAMERA)
        assert [twin.uuid for twin in device.twins.linked()] == [ARM, CAMERA]
        assert [twin.uuid for twin in device.twins.children(ARM)] == [CAMERA]
        assert device.files.known() == [ARM, CAMERA]
        found = device.twins.twin(ARM)
        assert found is not None
        assert device.twins.asset_of(found) == {"name": "Arm", "registry_id": "x/arm"}
        assert await device.row(FOREIGN) is not None
        assert device.file()["asset"]["registry_id"] == "x/arm"  # type: ignore[index]


async def test_twins_are_there_with_no_hub_from_the_first_second(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        await device.look()
        device.files.remove(ARM)
        await site.fleet.stop_hub()
        again = await site.restart_agent()
        assert [twin.uuid for twin in again.twins.linked()] == [ARM]
        await again.look()
        assert again.file()["name"] == "arm"
        assert again.file()["rotation_w"] == 1.0


async def test_a_refresh_leaves_the_file_the_same_one(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        device.drive(mine={"kept": True})
        path = device.files.path(ARM)
        inode = path.stat().st_ino
        with path.open("rb") as reader:
            await site.put(ARM, arm(name="left arm"))
            await site.shows(device, "name", "left arm")
            await device.look()
            read = json.loads(reader.read())
        assert path.stat().st_ino == inode
        assert read["name"] == "left arm"
        assert read["mine"] == {"kept": True}
        assert await site.edits() == []


@pytest.mark.parametrize("first", ["file", "hub"])
async def test_edits_of_both_sides_meet_by_field(tmp_path: Path, first: str) -> None:
    """Whether the node hears of the hub's change before or after it looks at what the driver did while it was dead."""
    async with twin_site(tmp_path) as (site, device):
        await site.node.sync_off()
        device.drive(position_x=2.5, description="by the driver")
        await site.put(ARM, arm(name="left arm", description="by people"))
        if first == "file":
            await device.look()
        site.node.sync_on()
        await eventually(lambda: _heard(device, "left arm"), "the node hears of the change")
        await device.look()
        await site.synced()
        await site.shows(device, "description", "by people")
        row = await site.at_hub()
        assert (row["name"], row["position_x"]) == ("left arm", 2.5)
        assert row["description"] == "by people"
        await device.look()
        shown = device.file()
        assert (shown["name"], shown["position_x"]) == ("left arm", 2.5)
        assert shown["description"] == "by people"
        assert len(await site.edits()) <= 2  # the edit itself, and what it and the hub's became


async def _heard(device: Device, name: str) -> bool:
    body = await device.row(ARM)
    return body is not None and body["name"] == name


async def test_of_edge_configs_the_device_has_the_last_word(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        await site.node.sync_off()
        ours = MINE | {"edge_configs": {"camera_config": {"fps": 30}}, "note": "driver"}
        device.drive(metadata=ours)
        theirs = MINE | {"edge_configs": {"camera_config": {"fps": 60}, "by": "hub"}, "note": "hub"}
        await site.put(ARM, arm(metadata=theirs))
        await device.look()
        site.node.sync_on()
        await site.synced()
        expected = theirs | {"edge_configs": {"camera_config": {"fps": 30}, "by": "hub"}}
        await site.shows(device, "metadata", expected)
        assert (await site.at_hub())["metadata"] == expected


async def test_what_is_not_a_drivers_to_edit_does_not_go_up(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        evil = MINE | {"drivers": {"default": {"docker_image": "evil"}}, "seen": 1}
        device.drive(asset_uuid="other", joint_states={"a": 1}, metadata=evil)
        await device.look()
        await site.synced()
        [edit] = await site.edits()
        assert edit["metadata"]["seen"] == 1  # type: ignore[index]
        assert "drivers" not in edit["metadata"]  # type: ignore[operator]
        assert edit["asset_uuid"] == arm()["asset_uuid"]
        assert "joint_states" not in edit


async def test_a_file_that_is_still_being_written_is_not_told_of(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        text = json.dumps(device.file() | {"position_x": 3.5})
        device.files.path(ARM).write_text(text[:40])
        await device.look()
        device.files.path(ARM).write_text(text)
        await device.look()
        assert device.warnings == []
        await site.synced()
        assert [edit["position_x"] for edit in await site.edits()] == [3.5]


@pytest.mark.parametrize("after", [0, 30, 700, None])
async def test_killed_while_it_writes_the_file_it_takes_nothing_of_it_for_an_edit(
    tmp_path: Path, after: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with twin_site(tmp_path) as (site, device):
        device.drive(mine="kept", mass=7 * "x" * 100)
        await device.look()
        await site.put(ARM, arm(name="left arm", description="d" * 900))
        await eventually(lambda: _heard(device, "left arm"), "the node hears of the change")
        dying = await site.device(Killing(after))
        with pytest.raises(Killed):
            await dying.look()
        again = await site.restart_agent()
        caplog.clear()
        caplog.set_level(logging.INFO)
        await again.look()
        assert "its driver has changed" not in caplog.text
        shown = again.file()
        assert (shown["name"], shown["mine"]) == ("left arm", "kept")
        site.node.sync_on()
        again.drive(position_x=4.5)
        await again.look()
        await site.synced()
        assert [edit["position_x"] for edit in await site.edits()] == [4.5]
        assert again.warnings == []


async def test_killed_after_it_took_an_edit_it_takes_it_once(tmp_path: Path) -> None:
    """The row has the edit; the file was to be refreshed, too, for another cause."""
    async with twin_site(tmp_path) as (site, device):
        await site.put(ARM_ASSET, {"name": "Long arm"}, ASSETS)

        async def heard() -> bool:
            return await device.row(ARM_ASSET, ASSETS) == {"name": "Long arm"}

        await eventually(heard, "the node hears of the asset")
        device.drive(position_x=2.5)
        dying = await site.device(Killing(0))
        with pytest.raises(Killed):
            await dying.look()
        again = await site.restart_agent()
        site.node.sync_on()
        await again.look()
        await site.synced()
        await again.look()
        await site.synced()
        assert [edit["position_x"] for edit in await site.edits()] == [2.5]
        assert again.file()["asset"]["name"] == "Long arm"  # type: ignore[index]


async def test_a_file_that_takes_the_place_is_read_and_told_of(tmp_path: Path) -> None:
    """As editors write, and `json.dump` to a temporary file."""
    async with twin_site(tmp_path) as (site, device):
        await device.look()
        for value in (3.5, 4.5):
            another = tmp_path / "another"
            another.write_text(json.dumps(device.file() | {"position_x": value}))
            another.rename(device.files.path(ARM))
            await device.look()
            await device.look()
            await site.synced()
        assert (await site.at_hub())["position_x"] == 4.5
        assert [words.partition(" was ")[2][:8] for _, words in device.warnings] == 2 * ["replaced"]


async def test_a_file_that_was_removed_is_made_anew_and_told_of(tmp_path: Path) -> None:
    """A container that has it mounted goes on seeing what was removed. After a restart of everything none has."""
    async with twin_site(tmp_path) as (_, device):
        await device.look()
        with device.files.path(ARM).open():
            device.files.path(ARM).unlink()
            await device.look()
            assert device.file()["name"] == "arm"
            await device.look()
        [(twin, words)] = device.warnings
        assert (twin, "was replaced" in words) == (ARM, True)
        await device.sync.clear()
        for _ in range(2):
            await device.look()
        assert len(device.warnings) == 1


async def test_what_people_remove_goes_from_the_file(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        await site.put(ARM, arm(metadata=MINE | {"old": 1}))
        await site.shows(device, "metadata", MINE | {"old": 1})
        await device.look()
        held = device.file()["metadata"]
        assert isinstance(held, dict)
        device.drive(metadata=held | {"mine": 2})
        await device.look()
        await site.synced()
        await site.put(ARM, arm(metadata=MINE | {"mine": 2}, name="left arm"))
        await site.shows(device, "name", "left arm")
        await device.look()
        assert device.file()["metadata"] == MINE | {"mine": 2}


@pytest.mark.parametrize("how", ["unlinked", "deleted"])
@pytest.mark.parametrize("own", [False, True])
async def test_a_twin_that_goes_elsewhere_takes_its_file_along_unless_that_has_more(
    tmp_path: Path, how: str, *, own: bool
) -> None:
    async with twin_site(tmp_path) as (site, device):
        await device.look()
        if own:
            device.drive(local="mine")
            await device.look()
        if how == "unlinked":
            await site.put(ARM, arm(metadata={"edge_fingerprint": "another"}))
        else:
            await site.delete(ARM)

        async def gone() -> bool:
            await device.look()
            return not device.twins.linked()

        await eventually(gone, "the twin is not this device's any more")
        assert device.store.twins() == []
        assert device.files.known() == ([ARM] if own else [])
        if own:
            device.drive(position_x=7)
            await device.look()
            assert not any(edit.get("position_x") == 7 for edit in await site.edits())
            await device.sync.clear()
            assert device.files.known() == []


async def test_a_file_from_before_is_merged_and_no_edit(tmp_path: Path) -> None:
    """Of the reference's own agent, say."""
    async with twin_site(tmp_path) as (site, device):
        await site.put(CAMERA, arm(name="eye"))
        device.files.path(CAMERA).write_text('{"name": "old", "local": 1}')
        await site.shows(device, "name", "eye", CAMERA)
        await device.look()
        found = device.file(CAMERA)
        assert (found["name"], found["local"]) == ("eye", 1)
        assert await site.edits(CAMERA) == []


async def test_cleared_files_have_given_up_their_edits_first(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        await device.look()
        device.drive(position_x=8)
        await device.sync.clear()
        assert device.files.known() == []
        await site.synced()
        assert [edit["position_x"] for edit in await site.edits()] == [8]
        await device.look()
        assert device.file()["position_x"] == 8


async def test_a_file_that_cannot_be_removed_keeps_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with twin_site(tmp_path) as (site, device):
        await site.put(CAMERA, arm(name="eye"))
        await site.shows(device, "name", "eye", CAMERA)
        for stuck in (ARM, CAMERA):
            known = device.files.known()
            again = await site.device(Sticking(device.files.path(stuck)))
            await again.sync.clear()
            assert again.files.known() == [stuck]
            assert f"{stuck}.json, which stays" in caplog.text
            await device.look()
            assert device.files.known() == known


async def test_it_notices_by_itself(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        await device.look()
        async with device.running():
            device.drive(position_x=6.5)

            async def came() -> bool:
                return [edit["position_x"] for edit in await site.edits()] == [6.5]

            await eventually(came, "the driver's edit is at the hub")
            body = await site.at_hub()
            await site.put(ARM, body | {"name": "left arm"})
            await eventually(lambda: device.file()["name"] == "left arm", "the file says so")
            assert device.file()["position_x"] == 6.5


async def test_rest_and_files_edit_the_same_twin(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        seen = device.twins.changed.count
        await device.twins.edit(ARM, {"position_x": 5.0, "metadata": {"by": "rest"}})
        assert device.twins.changed.count > seen
        await device.sync.look()
        assert device.file()["position_x"] == 5.0
        assert device.file()["metadata"]["by"] == "rest"  # type: ignore[index]
        device.drive(position_y=1)
        await device.look()
        await site.synced()
        row = await site.at_hub()
        assert (row["position_x"], row["position_y"]) == (5.0, 1)


async def test_files_are_private_and_hold_no_others_twin(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (_, device):
        await device.look()
        for path in device.files.directory.iterdir():
            assert path.stat().st_mode & 0o077 == 0
        assert device.file()["environment_uuid"] == ENVIRONMENT
        assert not device.files.path(FOREIGN).exists()
