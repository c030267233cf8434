"""Alerts of twins beside a real hub: told with it away, changed from both ends, told to the device's containers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.rest_rig import Heard, rest_site
from tests.twin_bodies import ARM, ENVIRONMENT, Json
from tests.twin_site import Device, TwinSite, twin_site

from skerry.kit.clock import SystemClock
from skerry.kit.errors import Refused
from skerry.node.twin_ports import NodeAlert
from skerry.node.twins.alert_notices import MOST, AlertNotices
from skerry.node.twins.alerts import AlertStore, alerts_of
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually

ENTITY = alerts_of(ENVIRONMENT)
LOOP = NodeAlert("driver_restart_loop", "container x: 5 restarts", {"count": 5})


async def alerts_on(device: Device, heard: Heard) -> tuple[AlertStore, AlertNotices]:
    """The agent's alerts beside its twins."""
    node, clock = device.node, SystemClock()
    notices = AlertNotices(heard, str, clock)
    store = AlertStore(node.rows, node.program.entities, ENVIRONMENT, device.twins, notices, clock)
    await store.open()
    return store, notices


@contextlib.asynccontextmanager
async def looking(alerts: AlertStore, notices: AlertNotices) -> AsyncIterator[None]:
    """As the agent runs it."""
    loops = [asyncio.create_task(alerts.follow()), asyncio.create_task(notices.run())]
    try:
        yield
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.wait(loops)


async def at_hub(site: TwinSite, uuid: str) -> Json:
    found: Json = json.loads(await site._ask("GET", f"{ENTITY}/rows/{uuid}"))["body"]
    return found


@pytest.mark.guarantee("G1")
async def test_case_25_an_alert_of_a_hubs_absence_is_delivered_once(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        await site.fleet.stop_hub()
        alerts, _ = await alerts_on(device, Heard())
        uuid = await alerts.tell(ARM, LOOP)
        assert await alerts.tell(ARM, LOOP) == uuid
        again = await site.restart_agent()
        alerts, _ = await alerts_on(again, Heard())
        assert await alerts.tell(ARM, LOOP) == uuid
        await site.fleet.start_hub()
        await site.restart_agent()  # as the hub has another port now
        site.node.sync_on()
        await site.synced()
        told = await at_hub(site, uuid)
        assert (told["name"], told["severity"]) == ("Driver restart loop detected", "error")
        assert (told["dedupe_count"], told["metadata"]) == (2, {"count": 5})
        rows = json.loads(await site._ask("GET", f"{ENTITY}/rows"))["rows"]
        assert [row["id"] for row in rows] == [uuid]


async def test_what_people_change_reaches_the_containers(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        heard = Heard()
        alerts, notices = await alerts_on(device, heard)
        async with looking(alerts, notices):
            uuid = await alerts.tell(ARM, LOOP)
            await site.synced()
            body = await at_hub(site, uuid)
            await site.put(uuid, {**body, "status": "acknowledged"}, ENTITY)
            await eventually(lambda: heard.statuses() == ["active", "acknowledged"], "told on")
            assert await alerts.tell(ARM, LOOP) != uuid
            await site._ask("DELETE", f"{ENTITY}/rows/{uuid}")
            await eventually(lambda: heard.statuses()[-1] == "resolved", "gone is over")
            assert heard.said[-1][1]["uuid"] == uuid


async def test_both_ends_change_an_alert(tmp_path: Path) -> None:
    """A person resolves it while the device, which does not know, counts it once more."""
    async with twin_site(tmp_path) as (site, device):
        alerts, _ = await alerts_on(device, Heard())
        uuid = await alerts.tell(ARM, LOOP)
        await site.synced()
        await site.node.sync_off()
        await alerts.tell(ARM, LOOP)
        body = await at_hub(site, uuid)
        over = {"status": "resolved", "resolved_at": "2026-11-22T10:00:00Z"}
        await site.put(uuid, {**body, **over, "dedupe_count": 5}, ENTITY)
        site.node.sync_on()
        await site.synced()
        both = await at_hub(site, uuid)
        assert (both["status"], both["dedupe_count"]) == ("resolved", 6)

        async def same() -> bool:
            here = await alerts.get(uuid)
            return here is not None and here.body == both

        await eventually(same, "the device has it, too")


async def test_the_nodes_own_alerts_are_amended_and_over(short_dir: Path) -> None:
    async with rest_site(short_dir) as site:
        alerts = site.alerts
        first = await alerts.tell(ARM, NodeAlert("driver_starting", "x", {"phase": "pull_started"}))
        second = await alerts.tell(ARM, NodeAlert("driver_starting", "x"))
        assert first != second  # each start is one
        await alerts.amend(first, {"phase": "container_running"}, "it runs")
        found = await alerts.get(first)
        assert found is not None
        assert found.body["metadata"] == {"phase": "container_running"}
        assert found.body["description"] == "it runs"
        await alerts.resolve(first)
        before = await alerts.get(first)
        await alerts.resolve(first)
        assert await alerts.get(first) == before
        await alerts.tell(ARM, NodeAlert("driver_health", "bad"))
        await alerts.resolve_kind(ARM, "driver_starting")
        open_ones = [one.body["alert_type"] for one in await alerts.of_twin(ARM) if not one.is_over]
        assert open_ones == ["driver_health"]
        await alerts.amend("nowhere", {"a": 1})
        await alerts.resolve("nowhere")


async def test_a_broker_that_is_away_costs_no_alert(short_dir: Path) -> None:
    heard = Heard()
    async with rest_site(short_dir, heard) as site:
        heard.away = True
        async with looking(site.alerts, site.notices):
            uuid = await site.alerts.tell(ARM, LOOP)
            await site.alerts.resolve(uuid)
            assert heard.said == []
            heard.away = False
            await eventually(lambda: heard.statuses() == ["active", "resolved"], "told in order")


class Refusing(Heard):
    """Refuses the first."""

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        if not self.said:
            self.said.append((topic, {}))
            raise Refused("it is too large")
        await super().publish(topic, payload, qos)


async def test_a_notice_that_is_refused_holds_no_other_up(short_dir: Path) -> None:
    heard = Refusing()
    async with rest_site(short_dir, heard) as site, site.serving():
        uuid = await site.alerts.tell(ARM, LOOP)
        await site.alerts.resolve(uuid)
        await eventually(lambda: len(heard.said) == 2, "the second was published")
        assert heard.said[1][1]["status"] == "resolved"


async def test_only_so_many_notices_wait(short_dir: Path) -> None:
    heard = Heard()
    heard.away = True
    async with rest_site(short_dir, heard) as site:
        for number in range(MOST + 2):
            site.notices.tell(ARM, {"uuid": str(number), "status": "active"})
        async with looking(site.alerts, site.notices):
            heard.away = False
            await eventually(lambda: len(heard.said) == MOST, "the newest were published")
            assert heard.said[0][1]["uuid"] == "2"


async def test_what_an_agent_could_not_tell_the_next_one_does(short_dir: Path) -> None:
    heard, clock = Heard(), ManualClock()
    heard.away = True
    async with rest_site(short_dir, heard) as site:

        def next_agent() -> AlertStore:
            rows, entities = site.rows, site.entities
            return AlertStore(rows, entities, ENVIRONMENT, site.twins, site.notices, clock)

        await next_agent().tell(ARM, LOOP)
        site.notices._waiting.clear()  # as it ends with the agent
        heard.away = False
        await next_agent().open()
        running = asyncio.create_task(site.notices.run())
        await eventually(lambda: heard.statuses() == ["active"], "it is told of")
        running.cancel()
        clock.advance(700)
        await next_agent().open()
        assert not site.notices._waiting
