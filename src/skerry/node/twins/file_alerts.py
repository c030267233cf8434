"""What people are told of twins' files: an event each time, and an alert for as long as a file cannot be used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skerry.node.twin_ports import Alerts, NodeAlert
from skerry.wire.records import Meta

KIND = "twin_file"
EVENT = "skerry.twin.file"


class FileAlerts:
    """Implements `syncing.FileNews`. `announce` makes an event of the node: its name, words, and what it is about."""

    def __init__(
        self, alerts: Alerts, announce: Callable[[str, str, Meta], Awaitable[None]]
    ) -> None:
        self._alerts = alerts
        self._announce = announce
        self._open: dict[str, str] = {}
        """The alerts that this agent has told, by twin."""

    async def remark(self, twin: str, words: str) -> None:
        await self._announce(EVENT, words, {"twin": twin})

    async def wrong(self, twin: str, words: str) -> None:
        if twin in self._open:
            await self._alerts.amend(self._open[twin], {}, words)
        else:
            self._open[twin] = await self._alerts.tell(twin, NodeAlert(KIND, words))
        await self.remark(twin, words)

    async def right(self, twin: str) -> None:
        await self._alerts.resolve_kind(twin, KIND)
        self._open.pop(twin, None)
