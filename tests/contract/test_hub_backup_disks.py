"""Which disk a backup of the hub outlives, and so what nodes may forget because of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import make_url
from tests.hub_backups import hub_settings_at
from tests.hub_rig import INCARNATION, HubRig, Lanes, batch

from skerry.hub import maintenance
from skerry.hub.backups.apart import Apart, Home
from skerry.hub.backups.programs import conninfo
from skerry.hub.settings import HubSettings
from skerry.hub.store.engine import parse_url
from skerry.kit.archive.writing import PART
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


@pytest.mark.guarantee("G10")
async def test_nothing_passes_over_the_backups_disk_that_is_not_meant_to_stay(
    database_url: str, tmp_path: Path, memory_dir: Path, manual_clock: ManualClock
) -> None:
    secret = make_url(database_url)
    if secret.get_backend_name() == "postgresql":
        secret = secret.set(password="canary")
    url = secret.render_as_string(hide_password=False)
    settings = hub_settings_at(tmp_path / "hub", url)
    hub = HubRig(url, manual_clock)
    await hub.start()
    hub.stop()
    left = settings.data_dir / ".backup-killed"
    left.mkdir()
    (left / "pgpass").write_text("canary")
    seen: set[str] = set()

    def look(_: int) -> None:
        seen.update(path.name for path in memory_dir.rglob("*"))

    file = memory_dir / "one.skb"
    await asyncio.to_thread(maintenance.back_up, settings, file, manual_clock, look)
    assert seen <= {".backup.lock", f"one.skb{PART}"}
    assert f"one.skb{PART}" in seen
    assert list(settings.data_dir.glob(".backup-*")) == []


@pytest.mark.guarantee("G10")
def test_a_password_in_an_addresss_query_is_no_argument_of_a_program() -> None:
    url = parse_url("postgresql://skerry@db.lan/skerry?password=canary&sslmode=require")
    assert (url.password, dict(url.query)) == ("canary", {"sslmode": "require"})
    assert "canary" not in f"{url} {conninfo(url)}"


async def test_blobs_beside_an_encrypted_archive_are_told_to_be_plain(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("a horse on a stick\n")
    settings = hub_settings_at(tmp_path / "hub", backup_passphrase=passphrase)
    hub = HubRig(settings.database_url, manual_clock)
    await hub.start()
    hub.stop()
    for name in ("c" * 62, "d" * 62 + ".sealed"):
        blob = settings.data_dir / "files" / "ab" / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(name.encode())
    made = await asyncio.to_thread(
        maintenance.back_up, settings, tmp_path / "one.skb", manual_clock
    )
    assert (made.encrypted, made.blobs, made.plain) == (True, 2, 1)
