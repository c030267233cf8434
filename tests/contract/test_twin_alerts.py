"""Alerts of twins: what the node's features count on holds for the store's and for those of tests."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from tests.rest_rig import Heard
from tests.twin_bodies import ARM, CAMERA, ENVIRONMENT
from tests.twin_site import twin_site

from skerry.kit.clock import SystemClock
from skerry.node.twin_ports import Alerts, NodeAlert
from skerry.node.twins.alert_notices import AlertNotices
from skerry.node.twins.alerts import AlertStore
from skerry.testing.memory_alerts import MemoryAlerts

LOOP = NodeAlert("driver_restart_loop", "container x: 5 restarts", {"count": 5})
STARTING = NodeAlert("driver_starting", "it is being started", {"phase": "requested"}, force=True)


class Shown(Protocol):
    """Alerts, and how one of them is: (active, metadata, description)."""

    alerts: Alerts

    async def one(self, uuid: str) -> tuple[bool, object, str]: ...


class InMemory:
    def __init__(self) -> None:
        self.memory = MemoryAlerts()
        self.alerts: Alerts = self.memory

    async def one(self, uuid: str) -> tuple[bool, object, str]:
        held = self.memory.all[uuid]
        return held.active, held.metadata, held.description


class Stored:
    def __init__(self, store: AlertStore) -> None:
        self.store = store
        self.alerts: Alerts = store

    async def one(self, uuid: str) -> tuple[bool, object, str]:
        found = await self.store.get(uuid)
        assert found is not None
        body = found.body
        return body["status"] == "active", body["metadata"], str(body["description"])


@contextlib.asynccontextmanager
async def stored(directory: Path) -> AsyncIterator[Stored]:
    async with twin_site(directory) as (_, device):
        node, clock = device.node, SystemClock()
        notices = AlertNotices(Heard(), str, clock)
        entities = node.program.entities
        store = AlertStore(node.rows, entities, ENVIRONMENT, device.twins, notices, clock)
        await store.open()
        yield Stored(store)


@pytest.fixture(params=["memory", "store"])
async def shown(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shown]:
    if request.param == "memory":
        yield InMemory()
        return
    async with stored(tmp_path) as found:
        yield found


async def test_an_equal_one_that_is_active_is_the_same(shown: Shown) -> None:
    uuid = await shown.alerts.tell(ARM, LOOP)
    assert await shown.alerts.tell(ARM, LOOP) == uuid
    assert await shown.alerts.tell(ARM, NodeAlert(LOOP.kind, "container x: 6 restarts")) != uuid
    await shown.alerts.resolve(uuid)
    assert await shown.alerts.tell(ARM, LOOP) != uuid


async def test_one_that_is_forced_is_always_another(shown: Shown) -> None:
    uuid = await shown.alerts.tell(ARM, STARTING)
    assert await shown.alerts.tell(ARM, STARTING) != uuid


async def test_amending_merges_and_leaves_what_is_not_said(shown: Shown) -> None:
    uuid = await shown.alerts.tell(ARM, STARTING)
    await shown.alerts.amend(uuid, {"step": 2})
    assert await shown.one(uuid) == (True, {"phase": "requested", "step": 2}, STARTING.description)
    await shown.alerts.amend(uuid, {"phase": "done"}, "it is started")
    assert await shown.one(uuid) == (True, {"phase": "done", "step": 2}, "it is started")


async def test_a_kind_is_over_for_its_twin_alone(shown: Shown) -> None:
    loop, other = await shown.alerts.tell(ARM, LOOP), await shown.alerts.tell(ARM, STARTING)
    await shown.alerts.resolve_kind(CAMERA, LOOP.kind)
    assert (await shown.one(loop))[0]
    await shown.alerts.resolve_kind(ARM, LOOP.kind)
    assert not (await shown.one(loop))[0]
    assert (await shown.one(other))[0]


async def test_what_is_gone_or_over_is_left_alone(shown: Shown) -> None:
    uuid = await shown.alerts.tell(ARM, LOOP)
    await shown.alerts.resolve(uuid)
    await shown.alerts.resolve(uuid)
    gone = "01a203dd-0000-7000-8000-000000000000"
    await shown.alerts.amend(gone, {"a": 1})
    await shown.alerts.resolve(gone)
