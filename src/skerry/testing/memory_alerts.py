"""Alerts of twins that are gone with the test: implements `node.twin_ports.Alerts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from skerry.kit.errors import Transient
from skerry.node.twin_ports import NodeAlert


class HeldAlert(msgspec.Struct, frozen=True):
    """One alert: how often it was told, and whether it is active."""

    uuid: str
    twin: str
    kind: str
    description: str
    metadata: Mapping[str, Any]
    count: int = 1
    active: bool = True


class MemoryAlerts:
    """All alerts in the order of their first telling. `failures`: so many calls fail before one succeeds."""

    def __init__(self) -> None:
        self.all: dict[str, HeldAlert] = {}
        self.failures = 0

    def of(self, kind: str, *, active: bool = True) -> list[HeldAlert]:
        """Those of a kind."""
        return [one for one in self.all.values() if one.kind == kind and one.active >= active]

    async def tell(self, twin: str, alert: NodeAlert) -> str:
        self._fail()
        for held in self.all.values():
            same = (held.twin, held.kind, held.description) == (twin, alert.kind, alert.description)
            if same and held.active and not alert.force:
                self.all[held.uuid] = replace(held, count=held.count + 1)
                return held.uuid
        uuid = f"alert-{len(self.all) + 1}"
        self.all[uuid] = HeldAlert(uuid, twin, alert.kind, alert.description, dict(alert.metadata))
        return uuid

    async def amend(self, uuid: str, metadata: Mapping[str, Any], description: str = "") -> None:
        self._fail()
        if (held := self.all.get(uuid)) is not None:
            merged = {**held.metadata, **metadata}
            words = description or held.description
            self.all[uuid] = replace(held, metadata=merged, description=words)

    async def resolve(self, uuid: str) -> None:
        self._fail()
        if (held := self.all.get(uuid)) is not None:
            self.all[uuid] = replace(held, active=False)

    async def resolve_kind(self, twin: str, kind: str) -> None:
        self._fail()
        for held in [*self.all.values()]:
            if (held.twin, held.kind) == (twin, kind):
                self.all[held.uuid] = replace(held, active=False)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise Transient("the disk is full")
