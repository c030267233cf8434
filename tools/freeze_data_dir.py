"""Makes `tests/fixtures/data-NNNN`: the data directories of a hub and a node as this version leaves them.

    .venv/bin/python -m tools.freeze_data_dir tests/fixtures/data-0001

Every later version must open them (`tests/acceptance/test_frozen_data.py` tries each `data-*` there is). Before a
release whose stores differ from the newest fixture's, run this with the next number, commit the new directory,
and never change or remove an older one: those who skip releases have such a directory.

`hub.zip` and `node.zip` hold the files of a short real run of two real processes, without sockets, pipes and
`run/`; `facts.json` says what must be found in them. The run: two workloads; values of all four types, with and
without meta, and an event that reach the hub; samples beyond their limit while it is away, so a gap; then values
that it never sees, the backlog. The node runs in a boot of its own making, so whoever opens it has rebooted since.
The secrets inside are of no use anywhere else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import msgspec
from tests.installation import Installation, Node, Process, copy_tree, installation, sleeper

import skerry
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.node.__main__ import settings_from
from skerry.node.agent import Host, run
from skerry.testing.waiting import eventually
from skerry.wire.people import WorkloadView
from skerry.wire.records import PublishedRecord, Row

BASE = 1_790_000_000_000_000_000
BOOT = "00000000-0000-4000-8000-000000000001"
SAMPLES = 24
WORKLOADS = ("camera", "heater")

ARRIVED = [
    PublishedRecord("room.temperature", 21.5, BASE + 1, {"unit": "C", "sensor": 7}),
    PublishedRecord("room.persons", -3, BASE + 2),
    PublishedRecord("room.window", True, BASE + 3, {"floor": 1.5, "open": False}),  # noqa: FBT003 - a value
    PublishedRecord("room.state", "«warm» ☀", BASE + 4),
]
BACKLOG = [
    PublishedRecord("room.temperature", 1e-300, BASE + 5),
    PublishedRecord("room.persons", 2**63 - 1, BASE + 6, {"unit": "persons"}),
    PublishedRecord("room.window", False, BASE + 7),  # noqa: FBT003
    PublishedRecord("room.state", "", BASE + 8),
]


class OtherBoot(SystemClock):
    """This machine's clock, in a boot that never was."""

    def boot_id(self) -> str:
        return BOOT


def run_node(words: list[str]) -> None:
    """The shipped node with `OtherBoot`."""
    logging.basicConfig(level="INFO", stream=sys.stderr)
    host = Host(OtherBoot(), RealDisk(), random.Random(1))  # noqa: S311 - jitter, not secrets
    asyncio.run(run(settings_from(words), host, lambda: None))


async def freeze(target: Path) -> None:
    """Fills `target`, which must not exist."""
    target.mkdir(parents=True)
    scratch = Path(tempfile.mkdtemp(prefix="sk-", dir="/tmp"))
    try:
        async with installation(scratch) as site:
            node = await started(site)
            arrived = await live(site, node)
            await node.process.end(signal.SIGTERM)
        for name in ("hub", node.name):
            copy_tree(scratch / name, scratch / "plain")
            shutil.rmtree(scratch / "plain" / "run", ignore_errors=True)
            shutil.make_archive(
                str(target / ("hub" if name == "hub" else "node")), "zip", scratch / "plain"
            )
        facts = {
            "version": skerry.__version__,
            "node": node.name,
            "workloads": WORKLOADS,
            "arrived": [plain(row) for row in arrived],
            "backlog": msgspec.to_builtins(BACKLOG),
        }
        (target / "facts.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    finally:
        shutil.rmtree(scratch)


async def started(site: Installation) -> Node:
    """A node in its own boot that runs both workloads, with room for few samples."""
    node = site.node()
    await node.enrol(site.hub, {"site": "lab"})
    await site.hub.apply(
        sleeper("camera", streams={"noise.*": "sample"}, env={"GREETING": "«hello»"}),
        sleeper("heater", depends_on={"camera": "running"}),
    )
    options = [*node.options, "--set", "records.sample_limit=1MB"]
    node.process = Process(["-m", "tools.freeze_data_dir", "node", *options], node.log)
    await node.process.start()
    await node.ready()
    await eventually(lambda: node.runs(*WORKLOADS), "the workloads run", 20)
    return node


async def live(site: Installation, node: Node) -> list[Row]:
    """What happens before the freeze; returns the records that the hub has at its end."""
    camera = node.publisher("camera")
    await eventually(lambda: statuses_arrived(site), "the statuses are at the hub")
    await asyncio.to_thread(camera.publish, "measurement", ARRIVED, 10.0)
    door = [PublishedRecord("door.opened", "by somebody", BASE + 9, {"badge": 12})]
    await asyncio.to_thread(camera.publish, "event", door, 10.0)
    await eventually(lambda: site.hub.has("*", 5), "values and event are at the hub")
    await site.hub.kill()
    text = "s" * 60_000
    for number in range(SAMPLES):
        sample = PublishedRecord("noise.level", text, BASE + 100 + number)
        await asyncio.to_thread(camera.publish, "measurement", [sample], 10.0)
    await site.hub.start()
    await eventually(lambda: gap_arrived(site), "samples and gap are at the hub", 30)
    await eventually(lambda: all_taken(node), "the hub has taken everything", 30)
    arrived = await site.hub.rows("*")
    await site.hub.process.end(signal.SIGTERM)
    await asyncio.to_thread(camera.publish, "measurement", BACKLOG, 10.0)
    return arrived


async def statuses_arrived(site: Installation) -> bool:
    """Whether the hub has heard that both workloads run."""
    async with site.hub.api() as api:
        views = await api.get("/api/v1/workloads", list[WorkloadView])
    statuses = [status for view in views for status in view.nodes.values()]
    return [status.phase for status in statuses if status] == ["running", "running"]


async def gap_arrived(site: Installation) -> bool:
    """Whether the hub knows that samples were thinned."""
    return any(row.kind == "gap" for row in await site.hub.rows("*"))


async def all_taken(node: Node) -> bool:
    """Whether the hub has acknowledged everything."""
    return not any(lane.waiting for lane in (await node.sync()).lanes)


def plain(row: Row) -> dict[str, object]:
    """A row as facts.json keeps it; long texts by their length."""
    value = row.value if not isinstance(row.value, str) or len(row.value) < 100 else len(row.value)
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
