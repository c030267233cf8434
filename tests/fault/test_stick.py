"""Sticks that are full or pulled out, and SIGKILL of whoever writes or reads one: no record is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.carry_rig import CarryRig
from tests.hub_rig import HubRig
from tests.small_disk import fill, small_disk
from tests.stick_rig import NAME, Site, cut_off_site

from skerry.cli.stick_files import room_on
from skerry.kit.errors import Refused, StorageFull
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def rig(tmp_path: Path, manual_clock: ManualClock) -> AsyncIterator[CarryRig]:
    hub = HubRig(f"sqlite:///{tmp_path / 'hub.db'}", manual_clock)
    await hub.start()
    rig = CarryRig(tmp_path, hub, manual_clock)
    await rig.start()
    yield rig
    await rig.stop()
    hub.stop()


@pytest.mark.guarantee("G1")
async def test_a_full_stick_has_whole_files_only(rig: CarryRig, short_dir: Path) -> None:
    for _ in range(16):
        await rig.publish(500, noise=1000)
    with small_disk(short_dir / "small", 3) as stick:
        end = await rig.export(stick, room=room_on(stick))
        assert not end.complete
        assert (await rig.bring(stick))[1] == []
        assert (await rig.take_receipts(stick))[0].records == end.records > 0
        for path in stick.iterdir():
            path.unlink()

        (stick / "films").write_bytes(bytes(1_500_000))
        with pytest.raises(StorageFull, match="the stick is full"):  # it has less room than it says
            await rig.export(stick, room=10**9, part=500_000)
        whole = sorted(stick.glob("*.stick"))
        assert whole
        assert list(stick.glob("*.part")) == []
        rest = fill(stick)
        with pytest.raises(StorageFull):
            await rig.bring(stick)  # taken, but there is no room for the receipt
        rest.unlink()
        (stick / "films").unlink()
        assert (await rig.bring(stick))[1] == []
        for path in stick.iterdir():
            path.unlink()
        fill(stick)
        with pytest.raises(StorageFull, match="the stick is full"):
            await rig.export(stick, room=10**9)
        assert list(stick.glob("*.stick")) == []
    await rig.round_trip(rig.stick("large"))
    assert await rig.has_all_once()


async def test_a_stick_that_is_pulled_out(rig: CarryRig) -> None:
    await rig.publish(500, noise=1000)
    stick = rig.stick("a")

    async def pulled() -> None:
        async for _ in rig.carrying.export(10**9, 10**9):
            stick.rename(stick.with_name("gone"))
            await rig.export(stick)

    with pytest.raises((Refused, OSError)):
        await pulled()
    assert await rig.waiting() == 500


@pytest.mark.guarantee("G1")
async def test_killed_while_exporting_and_importing(short_dir: Path) -> None:
    async with cut_off_site(short_dir) as site:
        for _ in range(4):
            await site.publish(2500, noise=1000)
        await _kill_the_agent(site)
        await _kill_the_command(site)
        exported = await site.export()
        assert exported.code == 0, exported.err
        assert site.files(".part") == []
        await _kill_the_hub(site)
        brought = await site.bring()
        assert brought.code == 0, brought.err
        await site.has_all_once()
        back = await site.export()
        assert "there is nothing to export" in back.out, back.err
        assert await site.waiting() == 0


async def _kill_the_agent(site: Site) -> None:
    process = await site.shell.start("export", str(site.stick))
    await eventually(lambda: bool(site.files(".part") or site.files()), "it writes")
    await site.node.kill()
    _, err = await process.communicate()
    assert b"Traceback" not in err
    assert site.files(".part") == []
    await site.restart()


async def _kill_the_command(site: Site) -> None:
    process = await site.shell.start("export", str(site.stick))
    await eventually(lambda: bool(site.files(".part") or site.files()), "it writes")
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


async def _kill_the_hub(site: Site) -> None:
    hub = site.shell.site.hub
    process = await site.shell.start("import", str(site.stick))
    await eventually(lambda: hub.has(NAME, 1), "it takes")
    await hub.kill()
    _, err = await process.communicate()
    assert b"Traceback" not in err
    await asyncio.sleep(0)
    await hub.start()
