"""Data directories of every version that was ever frozen open in this one (`tools/freeze_data_dir.py` makes them)."""

import asyncio
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.installation import Installation, Node, installation
from tools.freeze_data_dir import plain

from skerry.cli.http import node_api
from skerry.testing.waiting import eventually
from skerry.wire.local import Doctor
from skerry.wire.people import NodeView, Rows
from skerry.wire.records import PublishedRecord, Row

pytestmark = pytest.mark.timeout(120)

FROZEN = sorted((Path(__file__).parents[1] / "fixtures").glob("data-*"))


def thaw(frozen: Path, directory: Path, node: str) -> None:
    """The two data directories as they were, secrets for their owner only."""
    for archive, name in (("hub", "hub"), ("node", node)):
        shutil.unpack_archive(frozen / f"{archive}.zip", directory / name)
        for path in (directory / name).rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        (directory / name).chmod(0o700)


def keys(rows: list[Row]) -> list[tuple[str, str, int, str, str]]:
    """The rows in an order of their own, each value with its type."""
    return sorted(key(plain(row)) for row in rows)


def key(row: dict[str, Any]) -> tuple[str, str, int, str, str]:
    meta = json.dumps(row["meta"], sort_keys=True)
    return row["name"], row["kind"], row["at"], repr(row["value"]), meta


def told(records: list[dict[str, Any]]) -> list[tuple[str, str, int, str, str]]:
    """As `keys`, for what facts.json says about published values."""
    return sorted(
        key({"kind": "measurement", **record, "meta": record.get("meta") or {}})
        for record in records
    )


async def here(node: Node, name: str) -> list[Row]:
    async with node_api(node.directory) as api:
        return (await api.get(f"/v1/records?name={name}&limit=10000", Rows)).rows


@pytest.mark.guarantee("G2")
@pytest.mark.parametrize("frozen", FROZEN, ids=lambda path: path.name)
async def test_a_frozen_data_directory_opens(tidy_dir: Path, frozen: Path) -> None:
    facts = json.loads((frozen / "facts.json").read_text())
    arrived, backlog = told(facts["arrived"]), told(facts["backlog"])
    thaw(frozen, tidy_dir, facts["node"])
    async with installation(tidy_dir) as site:
        assert keys(await site.hub.rows("*")) == arrived
        await site.hub.kill()
        node = site.node(facts["node"])
        await node.start()  # in another boot, and with no hub
        await node.ready()
        await eventually(lambda: node.runs(*facts["workloads"]), "the workloads start", 20)
        held = keys(await here(node, "room.*"))
        assert set(backlog) <= set(held)
        await site.hub.start()
        await eventually(
            lambda: site.hub.has("*", len(arrived) + len(backlog)), "the backlog arrives", 20
        )
        assert keys(await site.hub.rows("*")) == sorted(arrived + backlog)
        await goes_on(site, node, len(facts["workloads"]))


async def goes_on(site: Installation, node: Node, workloads: int) -> None:
    """New values find their way, the hub sees everything run, and the node has nothing to complain about."""
    camera = node.publisher("camera")
    await asyncio.to_thread(camera.publish, "measurement", [PublishedRecord("new.value", 1)], 10.0)
    await eventually(lambda: site.hub.has("new.value", 1), "a new value arrives")
    await eventually(partial(sees_running, site, workloads), "the hub sees the workloads run")
    async with node_api(node.directory) as api:
        checks = (await api.get("/v1/doctor", Doctor)).checks
    assert [c.name for c in checks if c.outcome == "failed" and c.name != "disk space"] == []
    assert {c.name: c.outcome for c in checks}["damaged files"] == "ok"
    assert "Traceback" not in node.log.read_text() + site.hub.process.log.read_text()


async def sees_running(site: Installation, count: int) -> bool:
    async with site.hub.api() as api:
        [node] = await api.get("/api/v1/nodes", list[NodeView])
    return (node.workloads, node.running) == (count, count)
