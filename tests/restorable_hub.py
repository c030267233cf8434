"""A hub that can be put back from its backup, without processes and HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.hub_backups import hub_settings_at
from tests.hub_rig import HubRig

from skerry.hub import maintenance
from skerry.hub.backups.restoring import Wish
from skerry.testing.manual_clock import ManualClock


class RestorableHub:
    """A hub whose database can be backed up and put back, as people do it; every time, its features start anew."""

    rig: HubRig

    def __init__(
        self,
        directory: Path,
        url: str,
        clock: ManualClock,
        make: Callable[[str, ManualClock], HubRig] = HubRig,
    ) -> None:
        self._make = make
        self.backup = directory / "copies" / "one.skb"
        self.settings = hub_settings_at(directory / "hub", url)
        self._clock = clock
        self.backup.parent.mkdir()

    async def start(self) -> HubRig:
        self.rig = self._make(self.settings.database_url, self._clock)
        await self.rig.start()
        await self.rig.retention.prepare(self._clock.wall_ns())
        return self.rig

    async def set_aside(self) -> HubRig:
        self.backup.unlink(missing_ok=True)
        await asyncio.to_thread(maintenance.back_up, self.settings, self.backup, self._clock)
        return self.rig

    async def put_back(self, *, stopped: bool = True, **wish: bool) -> HubRig:
        if stopped:
            self.rig.stop()
        given = Wish(**({"replace": True} | wish))
        await asyncio.to_thread(maintenance.restore, self.settings, self.backup, given, self._clock)
        return await self.start()
