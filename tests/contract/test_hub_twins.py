"""What the hub's page knows of twins: brought up to date by the rows that have changed."""

from __future__ import annotations

import json

import msgspec
import pytest
import sqlalchemy as sa
from tests.hub_rig import HubRig

from skerry.core.merging.bodies import Value
from skerry.hub.fleet import twins as fleet_twins
from skerry.hub.fleet.twins import Twins, TwinView
from skerry.hub.store.shared_tables import shared_entity, shared_row
from skerry.hub.store.tables import node
from skerry.wire.rows import RowPut

ENVIRONMENT = "7d5bd0a64a5f4a5e9d5c0b8f4c7f8a11"
ARM, CAMERA = "aaaaaaaa-2222-4333-8444-555555555555", "bbbbbbbb-2222-4333-8444-555555555555"


async def put(hub: HubRig, kind: str, row: str, body: dict[str, Value]) -> None:
    raw = msgspec.Raw(json.dumps(body).encode())
    await hub.shared_rows.put(f"{kind}_{ENVIRONMENT}", row, RowPut(raw))


async def seen(twins: Twins) -> dict[str, TwinView]:
    return {view.uuid: view for view in await twins.seen()}


def alert(twin: str, **more: Value) -> dict[str, Value]:
    return {
        "twin_uuid": twin, "alert_type": "driver_health", "name": "Driver unhealthy", "severity": "warning",
        "status": "active", "last_seen_at": "2026-11-23T00:00:00Z", **more,
    }  # fmt: skip


async def test_twins_are_seen_as_their_rows_change(hub: HubRig) -> None:
    twins = Twins(hub.store)
    assert await twins.seen() == []
    await hub.enrol("gannet")
    await hub.store.write(
        lambda connection: connection.execute(sa.update(node).values(fingerprint="gannet-1a2b"))
    )
    await put(hub, "twins", ARM, {"name": "arm", "metadata": {"edge_fingerprint": "gannet-1a2b"}})
    await put(hub, "twins", CAMERA, {"name": "camera", "metadata": {"edge_fingerprint": "far-1"}})
    await put(hub, "alerts", "a1", alert(ARM))
    await put(hub, "alerts", "a2", alert(ARM, status="resolved"))
    await put(hub, "workflows", "w", {"twin_uuid": ARM})
    await put(hub, "recipes", "r", {"name": "soup"})
    found = await seen(twins)
    arm, camera = found[ARM], found[CAMERA]
    assert (arm.name, arm.nodes, arm.device, arm.driver) == ("arm", ["gannet"], "", "never heard")
    assert (camera.nodes, camera.device) == ([], "far-1")
    assert [one.text for one in arm.alerts] == ["Driver unhealthy"]

    since = "2026-11-23T00:00:00Z"
    await put(hub, "presence", ARM, {"online": True, "edge_id": "gannet-1a2b", "since": since})
    assert (await seen(twins))[ARM].driver == "silent"
    await put(hub, "presence", ARM, {"online": True, "edge_id": ARM, "since": since})
    await put(hub, "alerts", "a1", alert(ARM, status="resolved"))
    await put(hub, "alerts", "a2", alert(ARM, description="it smokes", severity="error"))
    arm = (await seen(twins))[ARM]
    assert (arm.driver, arm.since) == ("online", since)
    assert [(one.text, one.severity) for one in arm.alerts] == [("it smokes", "error")]

    await hub.shared_rows.delete(f"twins_{ENVIRONMENT}", CAMERA)
    assert list(await seen(twins)) == [ARM]
    assert await seen(twins) == await seen(Twins(hub.store))


async def test_rows_that_are_gone_for_good_are_not_seen(hub: HubRig) -> None:
    twins = Twins(hub.store)
    entity = f"twins_{ENVIRONMENT}"
    await put(hub, "twins", ARM, {"name": "arm"})
    await put(hub, "twins", CAMERA, {"name": "camera"})
    assert set(await seen(twins)) == {ARM, CAMERA}
    await hub.shared_rows.delete(entity, CAMERA)
    rev = (await hub.shared_rows.put(entity, ARM, RowPut(msgspec.Raw(b'{"name":"leg"}')))).rev

    def prune(connection: sa.Connection) -> None:
        connection.execute(sa.delete(shared_row).where(shared_row.c.id == CAMERA))
        its = shared_entity.c
        pruned = sa.update(shared_entity).where(its.entity == entity).values(pruned_through=rev - 1)
        connection.execute(pruned)

    await hub.store.write(prune)
    assert [view.name for view in await twins.seen()] == ["leg"]


async def test_rows_of_any_shape_are_seen(hub: HubRig) -> None:
    await put(hub, "twins", ARM, {"name": 7, "metadata": [1]})
    await put(hub, "twins", CAMERA, {"name": "\x1b[2J" + "x" * 1000})
    await put(hub, "presence", ARM, {"online": "yes", "since": {}})
    await put(hub, "presence", CAMERA, {"since": "9" * 100_000})
    await put(hub, "alerts", "a1", {"twin_uuid": ARM, "severity": None, "description": "y" * 1000})
    found = await seen(Twins(hub.store))
    assert (found[ARM].name, found[ARM].driver, found[ARM].since) == ("", "offline", "")
    assert found[CAMERA].name == "\N{REPLACEMENT CHARACTER}[2J" + "x" * 96 + "…"
    assert [len(one.text) for one in found[ARM].alerts] == [301]
    assert len(found[CAMERA].since) == 128


async def test_a_row_that_cannot_be_read_takes_no_other_one_from_the_page(
    hub: HubRig, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"{n}aaaaaaa-2222-4333-8444-555555555555" for n in range(5)]
    for name in rows:
        await put(hub, "twins", name, {"name": "arm"})
    damaged = rows[1::2]
    await hub.store.write(
        lambda connection: connection.execute(
            sa.update(shared_row).where(shared_row.c.id.in_(damaged)).values(body=b"{")
        )
    )
    twins = Twins(hub.store)
    left = {*rows} - {*damaged}
    assert set(await seen(twins)) == left
    assert [name for name in rows if name in caplog.text] == damaged
    caplog.clear()
    await put(hub, "twins", CAMERA, {"name": "camera"})
    assert set(await seen(twins)) == {*left, CAMERA}
    assert not caplog.text


async def test_a_flood_of_one_twins_alerts_hides_no_others(
    hub: HubRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_twins, "_MOST", 10)
    monkeypatch.setattr(fleet_twins, "_MOST_OF_ONE", 5)
    await put(hub, "twins", ARM, {"name": "arm"})
    await put(hub, "twins", CAMERA, {"name": "camera"})
    for n in range(12):
        await put(hub, "alerts", f"a{n:02}", alert(ARM))
    await put(hub, "alerts", "b", alert(CAMERA))
    twins = Twins(hub.store)
    found = await seen(twins)
    assert (len(found[ARM].alerts), len(found[CAMERA].alerts)) == (5, 1)
    for n in range(5):
        await put(hub, "alerts", f"a{n:02}", alert(ARM, status="resolved"))
    await put(hub, "alerts", "a11", alert(ARM))
    assert len((await seen(twins))[ARM].alerts) == 1
