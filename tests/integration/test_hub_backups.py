"""A running hub and its own backups: what people see of them, and that nobody opens its database beside it."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from tests.hub_backups import hub_settings_at

from skerry.hub import server
from skerry.hub.settings import StorageSection
from skerry.kit.errors import Refused
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode
from skerry.wire.people import BackupStatus, Health


async def health(hub: RunningHub) -> list[str]:
    async with aiohttp.ClientSession() as session, session.get(f"{hub.address}/healthz") as answer:
        return decode(await answer.read(), Health, "health").problems


async def status(hub: RunningHub) -> BackupStatus:
    async with (
        aiohttp.ClientSession(headers=hub.person) as session,
        session.get(f"{hub.address}/api/v1/backups") as answer,
    ):
        return decode(await answer.read(), BackupStatus, "backups")


async def page(hub: RunningHub) -> str:
    async with (
        aiohttp.ClientSession(hub.address, headers=hub.person) as session,
        session.get("/live") as answer,
    ):
        text = ""
        while "event: nodes" not in text:
            text += (await answer.content.readany()).decode()
    return text


async def test_backups_that_fail_are_shown_until_they_work(
    tmp_path: Path, memory_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LOOK_EVERY", 0.05)
    monkeypatch.setattr("skerry.hub.backups.schedule.AGAIN", 0.1)
    share = memory_dir / "share"
    async with running_hub(tmp_path, storage=StorageSection(60.0, 2, share)) as hub:

        async def fails() -> bool:
            return bool(await health(hub))

        async def works() -> bool:
            return not await health(hub) and bool((await status(hub)).counting)

        await eventually(fails, "the failure is told")
        assert str(share) not in str(await health(hub))
        assert "Is the stick or share mounted" in (await status(hub)).problem
        assert "Is the stick or share mounted" in await page(hub)
        share.mkdir()
        await eventually(works, "a backup is there")
        assert len(list(share.glob("hub-test-*.skb"))) == 1

        async def shown_no_more() -> bool:
            return "Is the stick or share mounted" not in await page(hub)

        await eventually(shown_no_more, "the page is rendered anew")


async def test_a_second_hub_on_one_file_is_refused(tmp_path: Path) -> None:
    async with running_hub(tmp_path):
        with pytest.raises(Refused, match="works on it.*several hubs need PostgreSQL"):
            await server.serve(hub_settings_at(tmp_path))


async def test_a_full_disk_is_told_to_whoever_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(tmp_path) as hub:
        assert await health(hub) == []
        monkeypatch.setattr("skerry.hub.data.storage.LITTLE", 2**62)
        [told] = await health(hub)
        assert "the hub's disk has only" in told
        assert str(tmp_path) not in told
