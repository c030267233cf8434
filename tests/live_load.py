"""What a node's workload publishes all the time while something else happens, and what of it is at the hub in the end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.installation import Installation, Node
from tests.site_files import listed

from skerry import sdk
from skerry.sdk.content import Content
from skerry.testing.waiting import eventually
from skerry.wire.records import PublishedRecord

WORKLOAD = "feeder"
_PACE = 0.05
_ROW_EVERY, _FILE_EVERY = 5, 10


@sdk.model(edge_enabled=True)
@dataclasses.dataclass
class Batch:
    """A shared row."""

    step: int
    id: str = ""


class Load:
    """At each step a measurement and an event, now and then a new row, the next version of an old one, and a file.

    What has returned was accepted. Each node has rows of its own.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.steps = 0
        self.rows: dict[str, int] = {}
        self.files: list[str] = []
        self._client = node.publisher(WORKLOAD)
        socket = node.directory / "run" / "w" / WORKLOAD / "sock"
        self._rows = sdk.repository(Batch, socket=str(socket))
        self._enough = threading.Event()

    def run(self) -> None:
        """Until `end`."""
        while not self._enough.wait(_PACE):
            self._step(self.steps)
            self.steps += 1

    def end(self) -> None:
        self._enough.set()

    async def go_on(self) -> None:
        """Returns when a file more has been accepted, and with it some of everything else."""
        seen = len(self.files)
        await eventually(lambda: len(self.files) > seen, f"{self.node.name} publishes")

    def _step(self, step: int) -> None:
        self._client.publish("measurement", [PublishedRecord("t.value", step)], 30.0)
        self._client.publish("event", [PublishedRecord("t.event", str(step))], 30.0)
        if step % _ROW_EVERY == 0:
            for row in (f"{self.node.name}-{step}", f"{self.node.name}-newest"):
                self._rows.upsert(Batch(step, row))
                self.rows[row] = step
        if step % _FILE_EVERY == 0:
            data = f"{self.node.name} {step} ".encode() * 100
            self._client.upload(Content(data), PublishedRecord("cam/a.bin", ""), 30.0)
            self.files.append(hashlib.sha256(data).hexdigest())


@contextlib.asynccontextmanager
async def under_load(nodes: Sequence[Node]) -> AsyncIterator[list[Load]]:
    """Loads on all of these nodes, which have the workload `WORKLOAD`, until the block ends."""
    loads = [Load(node) for node in nodes]
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(loads)) as threads:  # asyncio's own has but a few
        running = [loop.run_in_executor(threads, load.run) for load in loads]
        try:
            yield loads
        finally:
            for load in loads:
                load.end()
        await asyncio.gather(*running)


async def all_there(site: Installation, loads: Sequence[Load]) -> dict[str, int]:
    """Waits until the hub has everything; returns how much that is when each of it is there exactly once."""
    values = Counter((load.node.name, step) for load in loads for step in range(load.steps))
    for name in ("t.value", "t.event"):
        whole = partial(site.hub.has, name, values.total())
        await eventually(whole, f"the hub has {values.total()} of {name}", 120)
        found = Counter((row.node, int(str(row.value))) for row in await site.hub.rows(name))
        assert found == values, (name, found - values, values - found)
    rows = {row: step for load in loads for row, step in load.rows.items()}
    token = (site.hub.directory / "admin.token").read_text().strip()
    at_hub = sdk.repository(Batch, hub=site.hub.url, token=token)

    async def equal() -> bool:
        return {row.id: row.step for row in await asyncio.to_thread(list, at_hub.each())} == rows

    await eventually(equal, f"the hub has {len(rows)} rows as they were left", 60)
    files = Counter(sha for load in loads for sha in load.files)

    async def arrived() -> bool:
        return Counter(file.sha256 for file in await listed(site, 10_000) if file.complete) == files

    await eventually(arrived, f"the hub has {files.total()} files", 60)
    return {"records": 2 * values.total(), "rows": len(rows), "files": files.total()}
