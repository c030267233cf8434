"""Makes `tests/fixtures/data-NNNN`: the data directories of a hub and a node as this version leaves them.

    .venv/bin/python -m tools.freeze_data_dir tests/fixtures/data-0001

When and why: `tests/fixtures/README.md`. What is in them must be found again by every later version:
`tests/acceptance/test_frozen_data.py`. The run that is frozen takes seconds, with real processes: values of all
four types, with and without meta, and an event reach the hub; samples go beyond their limit while it is away, so
there are gaps; then the hub ends, and values follow that it never sees, the backlog. The node runs in a boot of
its own making, so whoever opens the directory has rebooted since. Shared rows are in `frozen_rows`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import platform
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import msgspec
from tests.files_in_use import copy_tree
from tests.installation import Installation, Node, Process, installation, sleeper
from tools import frozen_rows

import skerry
from skerry.cli.http import node_api
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.node.__main__ import settings_from
from skerry.node.agent import run
from skerry.node.host import Host
from skerry.node.workloads.runtimes.owner import FILE
from skerry.sdk.connection import NodeConnection
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode, encode
from skerry.wire.local import NodeStatus
from skerry.wire.people import Rows, WorkloadView
from skerry.wire.records import Publish, Published, PublishedRecord, Row
from skerry.wire.workload import ProcessSpec, Restart, WorkloadSpec, WorkloadStatus

BASE = 1_790_000_000_000_000_000
BOOT = "00000000-0000-4000-8000-000000000001"
SAMPLES = 24
GREETING = "camera says «hello»"

SPECS = (
    WorkloadSpec(
        name="camera",
        process=ProcessSpec(command=["/bin/sh", "-c", 'echo "$GREETING"; exec sleep 86400']),
        env={"GREETING": GREETING},
        streams={"noise.*": "sample"},
    ),
    sleeper("heater", depends_on={"camera": "running"}),
    WorkloadSpec(
        name="once",
        process=ProcessSpec(command=["/bin/sh", "-c", "exit 3"]),
        restart=Restart(policy="never"),
    ),
)

ARRIVED = Publish(
    [
        PublishedRecord("room.temperature", 21.5, BASE + 1, {"unit": "C", "sensor": 7}),
        PublishedRecord("room.persons", -3, BASE + 2),
        PublishedRecord("room.window", True, BASE + 3, {"floor": 1.5, "open": False}),  # noqa: FBT003 - a value
        PublishedRecord("room.state", "«warm» ☀", BASE + 4),
    ]
)
DOOR = Publish([PublishedRecord("door.opened", "by somebody", BASE + 9, {"badge": 12})], "event")
BACKLOG = Publish(
    [
        PublishedRecord("room.temperature", 1e-300, BASE + 5),
        PublishedRecord("room.persons", 2**63 - 1, BASE + 6, {"unit": "persons"}),
        PublishedRecord("room.window", False, BASE + 7),  # noqa: FBT003
        PublishedRecord("room.state", "", BASE + 8),
    ],
    session="5e" * 16,
    first=1,
)


class OtherBoot(SystemClock):
    """This machine's clock, in a boot that never was."""

    def boot_id(self) -> str:
        return BOOT


def run_node(words: list[str]) -> None:
    """The shipped node with `OtherBoot`; it says nothing about the machine that it runs on."""
    platform.release = lambda: "6.1"
    logging.basicConfig(level="INFO", stream=sys.stderr)
    host = Host(OtherBoot(), RealDisk(), random.Random(1))  # noqa: S311 - jitter, not secrets
    settings, _ = settings_from(words)
    asyncio.run(run(settings, host, lambda: None))


async def freeze(target: Path) -> None:
    """Fills `target`, which must not exist."""
    target.mkdir(parents=True)
    scratch = Path(tempfile.mkdtemp(prefix="sk-", dir="/tmp"))
    try:
        async with installation(scratch) as site:
            node = await started(site)
            facts = await live(site, node)
            await node.process.end(signal.SIGTERM)
            await site.hub.start()  # it was killed; nobody is there to tell it anything
            await site.hub.process.end(signal.SIGTERM)
        for archive, name in (("hub", "hub"), ("node", node.name)):
            copy_tree(scratch / name, scratch / "plain")
            shutil.rmtree(scratch / "plain" / "run", ignore_errors=True)
            _forget_place(scratch / "plain" / FILE, scratch / name)
            shutil.make_archive(str(target / archive), "zip", scratch / "plain")
        (target / "facts.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    finally:
        shutil.rmtree(scratch)


def _forget_place(mark: Path, directory: Path) -> None:
    """The owner's mark names the directory that it is good for; nobody is to learn ours."""
    if mark.exists():
        mark.write_text(mark.read_text().replace(str(directory), "/var/lib/skerry"))


async def started(site: Installation) -> Node:
    """A node in its own boot that has run every workload, with room for few samples."""
    node = site.node()
    await node.enrol(site.hub, {"site": "lab"})
    await site.hub.apply(*SPECS)
    options = [*node.options, "--set", "records.sample_limit=1MB"]
    node.process = Process(["-m", "tools.freeze_data_dir", "node", *options], node.log)
    await node.process.start()
    await node.ready()
    await eventually(lambda: node.runs("camera", "heater"), "the workloads run", 20)
    await eventually(lambda: greeted(node), "the camera has printed its greeting")
    return node


async def live(site: Installation, node: Node) -> dict[str, object]:
    """What happens before the freeze; returns what must be found again."""
    await eventually(lambda: statuses_arrived(site), "the statuses are at the hub")
    await frozen_rows.settle_first(site, node)
    await publish(node, ARRIVED)
    await publish(node, DOOR)
    await eventually(lambda: site.hub.has("*", 5), "values and event are at the hub")
    await site.hub.kill()
    await frozen_rows.part(site, node)
    for number in range(SAMPLES):
        sample = PublishedRecord("noise.level", "s" * 60_000, BASE + 100 + number)
        await publish(node, Publish([sample]))
    await site.hub.start()
    await eventually(lambda: gap_arrived(site), "samples and gap are at the hub", 30)
    await frozen_rows.meet(site, node)
    await eventually(lambda: all_taken(node), "the hub has taken everything", 30)
    workloads = await views(site)
    arrived = await site.hub.rows("*")
    rows = await frozen_rows.at_hub(site.hub)
    history, waiting = await frozen_rows.history(site.hub), await frozen_rows.waiting(site.hub)
    await frozen_rows.leave_frozen(site, node)
    await publish(node, BACKLOG)
    async with node_api(node.directory) as api:
        status = await api.get("/v1/status", NodeStatus)
    return {
        "version": skerry.__version__,
        "node": {"name": status.name, "id": status.id, "labels": status.labels},
        "incarnation": (await node.sync()).incarnation,
        "workloads": [wanted(view) for view in workloads],
        "ended": {each.workload: ending(each) for each in status.workloads if each.exit},
        "greeting": GREETING,
        "arrived": [plain(row) for row in arrived],
        "held": [plain(row) for row in await rows_of(node)],
        "backlog": msgspec.to_builtins(BACKLOG),
        "rows": {
            **await frozen_rows.facts(node, rows),
            "history": history,
            "waiting": waiting,
        },
    }


async def publish(node: Node, request: Publish) -> Published:
    """What the camera's own process could send."""

    def send() -> bytes:
        path = node.directory / "run" / "w" / "camera" / "sock"
        with contextlib.closing(NodeConnection(str(path), 10.0)) as connection:
            connection.request("POST", "/v1/publish", encode(request))
            return connection.getresponse().read()

    return decode(await asyncio.to_thread(send), Published, "the node's answer")


async def rows_of(node: Node) -> list[Row]:
    """Every record that is still on the node."""
    async with node_api(node.directory) as api:
        return (await api.get("/v1/records?limit=100000", Rows)).rows


async def greeted(node: Node) -> bool:
    """Whether the node's log of the camera has its greeting."""
    async with node_api(node.directory) as api:
        return GREETING in "".join([text async for text in api.text("/v1/logs/camera")])


async def views(site: Installation) -> list[WorkloadView]:
    """Every workload as the hub has it."""
    async with site.hub.api() as api:
        return await api.get("/api/v1/workloads", list[WorkloadView])


async def statuses_arrived(site: Installation) -> bool:
    """Whether the hub has heard how every workload is."""
    phases = {
        view.name: instance.status.phase
        for view in await views(site)
        for instance in view.nodes.values()
        if instance.status
    }
    return phases == {"camera": "running", "heater": "running", "once": "failed"}


async def gap_arrived(site: Installation) -> bool:
    """Whether the hub knows that samples were thinned."""
    return any(row.kind == "gap" for row in await site.hub.rows("*"))


async def all_taken(node: Node) -> bool:
    """Whether the hub has acknowledged everything."""
    return not any(lane.waiting for lane in (await node.sync()).lanes)


def wanted(view: WorkloadView) -> dict[str, object]:
    """What a person asked for, as facts.json keeps it."""
    return {
        "name": view.name,
        "generation": msgspec.to_builtins(view.generation),
        "restarts": view.restarts,
        "spec": msgspec.to_builtins(view.spec),
    }


def ending(status: WorkloadStatus) -> list[object]:
    """How a workload ended, as facts.json keeps it."""
    return [status.phase, status.exit and status.exit.code]


def plain(row: Row) -> dict[str, object]:
    """A row as facts.json keeps it; long texts by their length and hash."""
    value: object = row.value
    if isinstance(value, str) and len(value) > 100:
        value = {"length": len(value), "sha256": hashlib.sha256(value.encode()).hexdigest()}
    return {
        "name": row.name,
        "kind": row.kind,
        "source": row.source,
        "at": row.at,
        "value": value,
        "meta": row.meta,
    }


def main(words: list[str]) -> None:
    """`node OPTIONS…` runs the node of the frozen run; anything else is where the fixture goes."""
    if words[0] == "node":
        run_node(words[1:])
    else:
        asyncio.run(freeze(Path(words[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
