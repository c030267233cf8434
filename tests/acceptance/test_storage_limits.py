"""Limits of storage on a real node: a quota, a cap that is reached without a hub, and kills in the middle of eviction."""

import asyncio
import os
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from tests.container_site import log_of
from tests.files_in_use import blocks
from tests.full_disk import PADDING, all_taken
from tests.installation import Installation, Node, installation, sleeper

from skerry.cli.http import node_api
from skerry.kit.errors import StorageFull
from skerry.sdk.client import Client
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.waiting import eventually
from skerry.wire.local import Doctor
from skerry.wire.records import PublishedRecord
from skerry.wire.workload import ProcessSpec, Resources, WorkloadSpec, WorkloadStatus

MB = 1_000_000
LIMIT = 30 * MB
WRITER = "echo begins; for n in 1 2 3; do head -c 900000 /dev/zero > $0/file$n; done; mv $0/file? .; sleep 600"
"""Its files come into its directory when they are whole, so that there is one size at which that holds too much."""

BIG_FILE = "trap '' XFSZ; head -c 5000000 /dev/zero > big; wc -c < big; sleep 600"


async def limited_node(site: Installation, url: str, *specs: WorkloadSpec) -> Node:
    node = site.node(url=url)
    node.options += ["--set", f"runtime.max_storage_usage={LIMIT}"]
    node.options += ["--set", "runtime.storage_check_interval=300ms"]
    await node.enrol(site.hub)
    await site.hub.apply(*specs)
    await node.start()
    await node.ready()
    return node


async def status_of(node: Node, name: str) -> WorkloadStatus:
    status = await node.status()
    assert status is not None
    return next(each for each in status.workloads if each.workload == name)


async def says(node: Node, name: str, words: str) -> bool:
    return words in (await status_of(node, name)).message


def writing(name: str, script: str, *arguments: str) -> WorkloadSpec:
    return WorkloadSpec(
        name=name,
        process=ProcessSpec(command=["/bin/sh", "-c", script, *arguments]),
        resources=Resources(storage=2 * MB),
    )


async def test_a_directory_that_holds_too_much_ends_its_workload_only(short_dir: Path) -> None:
    made = short_dir / "made"
    made.mkdir()
    async with installation(short_dir) as site:
        node = await limited_node(
            site,
            site.hub.nodes_url,
            writing("writer", WRITER, str(made)),
            writing("big", BIG_FILE),
            sleeper("steady"),
        )
        await eventually(lambda: node.runs("steady", "big"), "the neighbours run")
        pid = (await node.pids())["steady"]
        words = "waits for room: its directory holds 2.7"
        await eventually(partial(says, node, "writer", words), "the writer waits")
        writer = await status_of(node, "writer")
        assert (writer.phase, writer.exit and writer.exit.reason) == ("pending", "storage")
        assert await node.runs("steady", "big")
        assert (await node.pids())["steady"] == pid
        big = node.directory / "workloads" / "big" / "big"
        await eventually(lambda: "2000000" in log_of(node, "big"), "it has written what it may")
        assert big.stat().st_size == 2 * MB, "no file passes the limit between two looks"
        for file in (node.directory / "workloads" / "writer").iterdir():
            file.unlink()
        # It is ended again before long, so that its status may never be seen.
        await eventually(
            lambda: log_of(node, "writer").count("begins") == 2, "there is room: it starts again"
        )


def lay(node: Node) -> list[Path]:
    files = [node.directory / "tmp" / f"{n}" for n in range(8)]
    files += [node.directory / "logs" / "feeder" / f"current.log.{n}" for n in (1, 2)]
    for path in files:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(400_000))
    return files


async def publish(client: Client, accepted: list[int]) -> None:
    """The next 50 values; patient while no agent is there."""
    first = len(accepted)
    values = [PublishedRecord("t.value", n, n, PADDING) for n in range(first, first + 50)]
    await asyncio.to_thread(client.publish, "measurement", values, 60.0)
    accepted += [record.value for record in values]  # type: ignore[misc]


async def until_refused(client: Client, accepted: list[int]) -> str:
    while True:
        try:
            await publish(client, accepted)
        except StorageFull as error:
            return str(error)


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(120)
async def test_killed_while_it_makes_room_nothing_accepted_is_lost(short_dir: Path) -> None:
    async with (
        installation(short_dir) as site,
        ChaosProxy("127.0.0.1", site.hub.nodes_port) as proxy,
    ):
        node = await limited_node(site, f"https://127.0.0.1:{proxy.port}", sleeper("feeder"))
        await eventually(lambda: node.runs("feeder"), "it runs")
        client, accepted = node.publisher("feeder"), list[int]()
        for _ in range(12):
            await publish(client, accepted)
        await eventually(partial(all_taken, node), "the hub has them")
        await node.process.end()  # it keeps how far the hub has come
        proxy.refuse()
        proxy.reset_all()
        feeding = asyncio.create_task(until_refused(client, accepted))
        for label, nth in (("evict.file", 1), ("evict.file", 4), ("segment.drop", 1)):
            lay(node)
            await node.start(fault=(label, nth))
            await eventually(lambda: not node.process.runs, f"killed at {label} {nth}")
        await node.start()
        await node.ready()
        cause = await feeding
        assert "limit of 30 MB (runtime.max_storage_usage) is reached" in cause
        assert blocks(node.directory) <= LIMIT * 1.05
        assert not list((node.directory / "tmp").iterdir())
        async with node_api(node.directory) as api:
            checks = {each.name: each for each in (await api.get("/v1/doctor", Doctor)).checks}
        assert checks["storage"].outcome == "warning"
        status = await node.status()
        assert status is not None
        assert status.storage is not None
        assert status.storage.classes["records unsent"] > 15 * MB
        assert any(problem.startswith("storage: ") for problem in status.problems)
        proxy.heal()
        await eventually(partial(all_taken, node), "the hub takes everything", 40)
        await publish(client, accepted)
        await eventually(partial(all_taken, node), "and what comes then, too")
        rows = Counter(row.value for row in await site.hub.rows("t.value"))
        assert rows == Counter(accepted)
        assert await node.runs("feeder")
