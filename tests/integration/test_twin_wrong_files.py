"""Twins' files that a driver has broken: told, left, and over when they are right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.memory import memory
from tests.twin_bodies import ARM, arm
from tests.twin_site import twin_site

from skerry.testing.waiting import eventually


@pytest.mark.parametrize("text", ['{"name": "arm", ', "[]", '{"name": 7}', '{"position_x": NaN}'])
async def test_a_wrong_file_is_told_once_and_left(tmp_path: Path, text: str) -> None:
    async with twin_site(tmp_path) as (site, device):
        device.files.path(ARM).write_text(text)
        await site.put(ARM, arm(name="left arm"))
        await site.shows(device, "name", "left arm")

        async def warned() -> bool:
            await device.look()
            return bool(device.warnings)

        await eventually(warned, "it is told")
        await device.look()
        [(twin, words)] = device.warnings
        assert twin == ARM
        assert device.files.path(ARM).name in words
        [alert] = device.alerts.of("twin_file")
        assert (alert.twin, alert.description) == (ARM, words)
        assert device.files.path(ARM).read_text() == text
        assert await site.edits() == []
        device.files.path(ARM).write_text(json.dumps({"position_x": 9}))
        await device.look()
        await site.synced()
        await site.shows(device, "name", "left arm")
        assert (await site.at_hub())["position_x"] == 9
        assert (device.file()["name"], device.file()["position_x"]) == ("left arm", 9)
        assert device.alerts.of("twin_file") == []


async def test_a_file_of_many_small_parts_takes_no_memory(tmp_path: Path) -> None:
    """A driver can write it at any time, and each part takes thirty times its length."""
    async with twin_site(tmp_path) as (_, device):
        text = '{"x": [' + "{}," * 1_000_000 + "{}]}"
        device.files.path(ARM).write_text(text)

        async def warned() -> bool:
            await device.look()
            return bool(device.warnings)

        with memory() as most:
            await eventually(warned, "it is told")
            assert most() < 10 * len(text)
        assert "objects and lists" in device.warnings[0][1]


async def test_a_file_that_is_right_again_at_the_next_start_ends_the_alert(tmp_path: Path) -> None:
    """As an alert that could not be told is told again."""
    async with twin_site(tmp_path) as (site, device):
        good = device.files.path(ARM).read_text()
        device.files.path(ARM).write_text("[]")
        device.alerts.failures = 2

        async def told() -> bool:
            await device.look()
            return bool(device.alerts.of("twin_file"))

        await eventually(told, "it is told")
        [first] = device.alerts.of("twin_file")
        device.files.path(ARM).write_text('{"name": 7}')

        async def told_anew() -> bool:
            await device.look()
            return device.alerts.of("twin_file")[0].description != first.description

        await eventually(told_anew, "it is told what is wrong now")
        [alert] = device.alerts.all.values()
        again = await site.device()
        again.alerts.all[alert.uuid] = alert
        again.files.path(ARM).write_text(good)
        await again.look()
        assert again.alerts.of("twin_file") == []


@pytest.mark.parametrize("text", ["", "  \n"])
async def test_a_file_that_holds_nothing_is_written_anew(tmp_path: Path, text: str) -> None:
    """As a driver leaves it that ends between emptying and writing it; until then its next life could not read it."""
    async with twin_site(tmp_path) as (site, device):
        path = device.files.path(ARM)
        inode = path.stat().st_ino
        path.write_text(text)

        async def whole() -> bool:
            await device.look()
            return bool(path.read_text().strip())

        await device.look()
        assert path.read_text() == text, "its driver may be about to write it"
        await eventually(whole, "it is written")
        assert device.file()["name"] == "arm"
        assert path.stat().st_ino == inode
        await device.look()
        assert (device.warnings, device.alerts.of("twin_file")) == ([], [])
        assert await site.edits() == []


async def test_what_is_told_of_a_file_is_one_sentence_after_the_other(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (_, device):
        path = device.files.path(ARM)
        told: list[str] = []

        async def of(what: str) -> None:
            async def is_told() -> bool:
                await device.look()
                return len(device.warnings) > len(told)

            await eventually(is_told, what)
            told.append(device.warnings[-1][1].removeprefix(f"cannot use {path}: "))

        path.write_text(json.dumps({"metadata": {"large": "x" * 2_000_000}}))
        await of("too large a row")
        path.unlink()
        path.symlink_to("/etc/hostname")
        await of("a link")
        assert told[0].endswith("rows. It is left as it is until it is right")
        assert told[1] == (
            "it is a link, which is not followed. Remove it. It is left as it is until it is right"
        )
