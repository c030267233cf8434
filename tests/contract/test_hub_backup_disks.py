"""Which disk a backup of the hub outlives, and so what nodes may forget because of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.hub_backups import hub_settings_at
from tests.hub_rig import INCARNATION, HubRig, Lanes, batch

from skerry.hub import maintenance
from skerry.hub.backups.apart import Apart, Home
from skerry.hub.settings import HubSettings
from skerry.hub.store.engine import parse_url
from skerry.testing.manual_clock import ManualClock
from skerry.wire.sync import Hello

SERVER = parse_url("postgresql://skerry@db.lan/skerry")


async def told(settings: HubSettings, backup: Path, clock: ManualClock) -> tuple[int, int]:
    """What a node hears of its records and of its files after a backup of a hub that has one of each."""
    hub, lanes = HubRig(settings.database_url, clock), Lanes()
    await hub.start()
    await hub.push("n", lanes.unit("keep", [batch(1)]))
    await hub.push("n", lanes.unit("event", [batch("x", name="a", kind="event")]))
    await asyncio.to_thread(maintenance.back_up, settings, backup, clock)
    hello = Hello((1, 1), INCARNATION, "0.1", "boot-1")
    points = (await hub.greeter.hello("n", hello)).backed_up_through
    hub.stop()
    return points["keep"], points["event"]


@pytest.mark.guarantee("G1")
async def test_a_backup_beside_the_files_does_not_count_for_them(
    tmp_path: Path, memory_dir: Path, manual_clock: ManualClock
) -> None:
    settings = hub_settings_at(tmp_path / "hub", f"sqlite:///{memory_dir}/hub.db")
    assert await told(settings, memory_dir / "near-the-database.skb", manual_clock) == (0, 0)
    assert await told(settings, tmp_path / "near-the-files.skb", manual_clock) == (1, 0)


@pytest.mark.guarantee("G1")
async def test_a_backup_on_the_disk_of_the_hub_does_not_count_and_on_another_it_does(
    database_url: str, tmp_path: Path, memory_dir: Path, manual_clock: ManualClock
) -> None:
    settings = hub_settings_at(tmp_path / "hub", database_url)
    assert await told(settings, tmp_path / "near.skb", manual_clock) == (0, 0)
    assert await told(settings, memory_dir / "far.skb", manual_clock) == (1, 1)


def test_of_a_server_only_people_know_where_it_is(tmp_path: Path, memory_dir: Path) -> None:
    near, far = tmp_path / "one.skb", memory_dir / "one.skb"
    for backup in (near, far):
        backup.touch()
    hub = tmp_path / "hub"
    assert Home(SERVER, hub).apart_from(near) == Apart(database=False, files=False)
    assert Home(SERVER, hub).apart_from(far) == Apart(database=True, files=True)
    vouched = Home(SERVER, hub, vouched=True)
    assert vouched.apart_from(near) == Apart(database=True, files=False)
    in_a_bucket = Home(SERVER, hub, "s3://fleet", vouched=True)
    assert in_a_bucket.apart_from(near) == Apart(database=True, files=True)
