"""What tests of the hub's backups share."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skerry.hub.settings import HubSettings, NodesSection, RetentionSection, StorageSection

_DAY = 86_400.0


def hub_settings_at(data_dir: Path, database: str | None = None, **storage: object) -> HubSettings:
    """A hub whose backups are as `storage` says."""
    data_dir.mkdir(exist_ok=True)
    return HubSettings(
        data_dir=data_dir,
        listen="127.0.0.1:0",
        database=database,
        fleet="test",
        retention=RetentionSection(_DAY, _DAY, _DAY, _DAY),
        nodes=NodesSection("127.0.0.1:0", "secret"),
        storage=msgspec.convert(storage, StorageSection),
    )
