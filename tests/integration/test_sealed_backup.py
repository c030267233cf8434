"""A backup of a hub that encrypts: nothing in it is readable, and it is put back with its keys and its sealed blobs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from tests.hub_backups import hub_settings_at
from tests.hub_rig import HubRig
from tests.model_cases import sha256
from tests.sealed_hub import CANARY, everything, fill, rotation

from skerry.hub import encryption, maintenance
from skerry.hub.backups.restoring import Wish
from skerry.hub.settings import EncryptionSection, StorageEncryption
from skerry.hub.store.open_blobs import open_blobs
from skerry.testing.manual_clock import ManualClock

BLOB = CANARY.encode() * 10_000


async def test_a_sealed_hub_is_put_back(tmp_path: Path, manual_clock: ManualClock) -> None:
    settings = hub_settings_at(tmp_path / "hub", f"sqlite:///{tmp_path}/hub/hub.db")
    on = EncryptionSection(StorageEncryption(enabled=True))
    settings = msgspec.structs.replace(settings, encryption=on)
    settings.data_dir.mkdir(exist_ok=True)
    hub = HubRig(settings.database_url, manual_clock, encryption.wish(settings))
    await hub.start()
    await fill(hub)
    await rotation(hub).once()
    blobs = open_blobs(settings, "blobs", hub.store)
    assert (await blobs.add(sha256(BLOB), 0, len(BLOB), BLOB)).complete
    held = await everything(hub)
    copies = tmp_path / "copies"
    copies.mkdir()
    await asyncio.to_thread(maintenance.back_up, settings, copies / "one.skb", manual_clock)
    hub.stop()
    assert not [
        path
        for path in copies.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]
    for path in (settings.data_dir / "blobs").rglob("*.sealed"):
        path.unlink()
    wish = Wish(replace=True)
    await asyncio.to_thread(maintenance.restore, settings, copies / "one.skb", wish, manual_clock)
    hub = HubRig(settings.database_url, manual_clock, encryption.wish(settings))
    await hub.start()
    try:
        assert [(await everything(hub))[0], (await everything(hub))[2]] == [held[0], held[2]]
        blobs = open_blobs(settings, "blobs", hub.store)
        found = b"".join([part async for part in blobs.read(sha256(BLOB), 0, len(BLOB))])
        assert found == BLOB
    finally:
        hub.stop()
