"""Twins of Cyberwave on a node, by the cases of its brief: what drivers do with their files, with and without the hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.twin_bodies import ARM, arm
from tests.twin_site import twin_site

from skerry.testing.waiting import eventually

DRIVER = """
import json, os, sys
path = sys.argv[1]
held = os.open(path, os.O_RDONLY)
for line in sys.stdin:
    word, *rest = line.split(maxsplit=1)
    if word == "held":
        text = os.pread(held, 1 << 20, 0).decode()
    else:
        found = json.load(open(path)) | json.loads(rest[0])
        with open(path, "r+") as file:
            json.dump(found, file)
            file.truncate()
        text = "{}"
    print(json.dumps(json.loads(text)), flush=True)
"""
"""Holds its twin's file open from the beginning, and edits it in place by the path that it was given."""


class Driver:
    """A program that has one file mounted, as a container has it: it sees nothing else of the directory."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def held(self) -> dict[str, object]:
        """What it reads from the file that it has opened at its start."""
        return await self._say("held")

    async def edit(self, **fields: object) -> None:
        await self._say(f"edit {json.dumps(fields)}")

    async def _say(self, line: str) -> dict[str, object]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{line}\n".encode())
        await stdin.drain()
        found: dict[str, object] = json.loads(await stdout.readline())
        return found


@contextlib.asynccontextmanager
async def driver(file: Path, directory: Path) -> AsyncIterator[Driver]:
    """In a mount namespace of its own, with a bind mount of the file."""
    mounted = directory / "app.json"
    mounted.touch()
    script = 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$2"'
    words = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "driver"]
    process = await asyncio.create_subprocess_exec(
        *words,
        str(file),
        str(mounted),
        sys.executable,
        DRIVER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Driver(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def test_case_27_an_edit_while_the_hub_is_down_reaches_it_once(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        await site.node.sync_off()
        device.drive(position_x=2.5)
        await device.look()
        await device.look()
        assert await site.edits() == []
        site.node.sync_on()
        await site.synced()
        await device.look()
        await site.synced()
        assert [edit["position_x"] for edit in await site.edits()] == [2.5]


@pytest.mark.parametrize("was_seen", [True, False])
async def test_case_27_also_after_a_restart_of_the_node(tmp_path: Path, was_seen: bool) -> None:
    """Whether the agent had seen the edit before it ended, or it was made while no agent was there."""
    async with twin_site(tmp_path) as (site, device):
        await site.fleet.stop_hub()
        if was_seen:
            device.drive(position_x=2.5)
            await device.look()
            await site.node.stop()
        else:
            await site.node.stop()
            device.drive(position_x=2.5)
        await site.fleet.start_hub()
        await site.node.start_at(site.fleet.hub.address)
        again = await site.device()
        await again.look()
        site.node.sync_on()
        await site.synced()
        await again.look()
        await site.synced()
        assert [edit["position_x"] for edit in await site.edits()] == [2.5]
        assert again.file()["position_x"] == 2.5


async def test_case_29_a_refresh_reaches_a_driver_that_has_the_file_open(tmp_path: Path) -> None:
    """By a bind mount: the inode is the same, local keys are kept, and what the driver writes there is noticed."""
    async with twin_site(tmp_path) as (site, device):
        path = device.files.path(ARM)
        inode = path.stat().st_ino
        async with driver(path, tmp_path) as program, device.running():
            await program.edit(mine={"kept": True}, position_x=2.5)
            await eventually(lambda: _has(site.edits, 2.5), "the driver's edit is at the hub")
            await site.put(ARM, await site.at_hub() | {"name": "left arm"})

            async def seen() -> bool:
                return (await program.held())["name"] == "left arm"

            await eventually(seen, "the driver reads the new name")
            read = await program.held()
        assert path.stat().st_ino == inode
        assert read["mine"] == {"kept": True}
        assert read["position_x"] == 2.5
        assert len(await site.edits()) == 1


async def test_edits_of_both_sides_meet_by_field(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        await site.node.sync_off()
        device.drive(position_x=2.5)
        await site.put(ARM, arm(name="left arm"))
        await device.look()
        site.node.sync_on()
        await site.synced()
        await site.shows(device, "name", "left arm")
        row, shown = await site.at_hub(), device.file()
        for found in (row, shown):
            assert (found["name"], found["position_x"]) == ("left arm", 2.5)


async def _has(edits: object, value: float) -> bool:
    assert callable(edits)
    return [edit["position_x"] for edit in await edits()] == [value]
