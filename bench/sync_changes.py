"""Small things between stores that hold 10,000 rows: one change until it is seen, a round of nothing, a field of a large document."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from bench import rig, sealed
from bench.executions import Execution, executions
from bench.figures import Figure, summary
from bench.sealed import Placed, Site
from skerry import sdk
from skerry.cli.http import node_api
from skerry.core.cursors import set_digest
from skerry.node.sync.connections import open_session
from skerry.node.sync.row_hub import HttpRowHub
from skerry.node.sync.uplink import HttpUplink
from skerry.sdk.connection import NodeConnection
from skerry.testing.running_hub import RunningHub
from skerry.wire.codec import encode
from skerry.wire.entities import Find
from skerry.wire.rounds import SyncRound
from skerry.wire.shared import DECLARATIONS, Round, RowsPull
from skerry.wire.sync import PROTOCOL, Hello, Pull

ROWS = 10_000
CHANGES = 60
ROUNDS = 200
ASKED = 30
EDITS = 5
SECTIONS = 1000
ENTITY = "execution"

Peers = Mapping[str, float]


@sdk.model(edge_enabled=True)
@dataclasses.dataclass
class Document:
    """A row of 100 kB."""

    title: str
    sections: list[str]
    id: str = ""


async def run(place: Path, peers: Mapping[str, Peers]) -> list[Figure]:
    """`peers` by «change pushed», «change pulled», «nothing» (ms) and «document» (bytes)."""
    async with sealed.site(place) as site:
        near = await site.node("n1")
        rows = await asyncio.to_thread(near.rows.create_many, executions(ROWS))
        await _until(near, lambda: near.synced(rows[-1].id))
        up, down = await asyncio.to_thread(_seen, site, near, rows)
        rounds, asked = await _nothing(site), await _on_request(near)
        sent, received = await _document(site, near)
    return [
        _seen_figure("a node → the hub", up, peers.get("change pushed", {})),
        _seen_figure("the hub → a node", down, peers.get("change pulled", {})),
        Figure(
            "sync",
            "a round of nothing: the node's question after states and rows, and the answer (median)",
            statistics.median(rounds),
            "ms",
            target=3.0,
            peers=dict(peers.get("nothing", {})),
            note=f"{summary(rounds)}; asked with the node's modules on a connection that is open; {ROWS:,} rows",
        ),
        Figure(
            "sync",
            "the same on request (`skerry sync now`), with its hello: first byte of the agent → last byte of the answers (median)",
            statistics.median(asked),
            "ms",
            note=f"{summary(asked)}; through a proxy",
        ),
        _document_figure("a node", sent, peers.get("document", {})),
        _document_figure("the hub", received, {}),
    ]


def _seen_figure(words: str, times: Sequence[tuple[float, float]], peers: Peers) -> Figure:
    sent, answered = [each[0] for each in times], [each[1] for each in times]
    return Figure(
        "sync",
        f"one row changed, {words}: update called → read on the other side (median)",
        statistics.median(sent),
        "ms",
        target=15.0,
        peers=dict(peers),
        note=f"{summary(sent)}; after the update was answered, which is durable: {summary(answered)}; {ROWS:,} rows. "
        "The other side is asked all the time. Peers: one replication after the change was made, nothing durable",
    )


def _document_figure(where: str, sizes: Sequence[int], peers: Peers) -> Figure:
    return Figure(
        "sync",
        f"one field of a document of 100 kB changed at {where}: on the wire, both directions with HTTP heads (median)",
        statistics.median(sizes),
        "bytes",
        target=2000.0,
        peers=dict(peers),
        note=f"each: {', '.join(f'{size:,}' for size in sizes)}",
    )


async def _until(placed: Placed, done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120.0):
        await rig.until(done, 0.1)
    await sealed.quiet(placed, 0.5)


def _seen(
    site: Site, placed: Placed, rows: Sequence[Execution]
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Milliseconds from the call, and from its answer: changes at the node, changes at the hub, in turns."""
    chance = random.Random(1)
    near, far = placed.rows, site.at_hub(Execution)
    up: list[tuple[float, float]] = []
    down: list[tuple[float, float]] = []
    with contextlib.closing(_Eyes(site, placed)) as eyes:
        for number in range(CHANGES):
            ours, theirs = rows[number], far.read(rows[-1 - number].id)
            for repository, row, look, times in (
                (near, ours, eyes.at_hub, up),
                (far, theirs, eyes.at_node, down),
            ):
                time.sleep(chance.uniform(0.25, 0.3))
                row.workflow_id = f"changed {number}"
                called = time.perf_counter()
                repository.update(row)
                answered = time.perf_counter()
                seen = look(row.id, row.workflow_id)
                times.append(((seen - called) * 1000, (seen - answered) * 1000))
    return up, down


class _Eyes:
    """Reads one row at hub and node again and again, each on a connection that stays open."""

    def __init__(self, site: Site, placed: Placed) -> None:
        self._headers = {"Authorization": f"Bearer {site.token}"}
        self._hub = http.client.HTTPConnection("127.0.0.1", site.found.hub.port, timeout=10.0)
        self._node = NodeConnection(placed.socket, timeout=10.0)

    def close(self) -> None:
        self._hub.close()
        self._node.close()

    def at_hub(self, row_id: str, text: str) -> float:
        """When the hub's row first has the text, in seconds."""
        path = f"/api/v1/entities/{ENTITY}/rows/{row_id}"
        return self._look(self._hub, "GET", path, None, text)

    def at_node(self, row_id: str, text: str) -> float:
        """When the node's row first has the text, in seconds."""
        body = encode(Find(ids=[row_id]))
        return self._look(self._node, "POST", f"/v1/entities/{ENTITY}/find", body, text)

    def _look(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        text: str,
    ) -> float:
        words, deadline = f'"{text}"'.encode(), time.perf_counter() + 10.0
        answer = b""
        while time.perf_counter() < deadline:
            connection.request(method, path, body, self._headers)
            answer = connection.getresponse().read()
            if words in answer:
                return time.perf_counter()
            time.sleep(0.001)
        raise TimeoutError(f"{path} never said {text}: {answer!r}")


async def _nothing(site: Site) -> list[float]:
    """Rounds of a third node, in ms: it is in this process, with the agent's modules for the network."""
    hub = site.found.hub
    enrolled = await RunningHub(hub.url, site.token).enrol("asking")
    async with open_session() as session:
        uplink = HttpUplink(session, hub.url, enrolled.node_id, enrolled.secret)
        rows = HttpRowHub(uplink)
        await uplink.hello(Hello((PROTOCOL, PROTOCOL), "asking", "bench", "boot"))
        cursors = dict.fromkeys((DECLARATIONS, ENTITY), "")
        while waiting := {entity for entity, cursor in cursors.items() if not cursor}:
            page = await rows.rows(RowsPull(dict.fromkeys(waiting, "")))
            for part in page.parts:
                cursor = part.cursor
                while part.more:
                    [part] = (await rows.rows(RowsPull({part.entity: cursor}))).parts  # noqa: PLW2901
                    cursor = part.cursor
                cursors[part.entity] = cursor
        full = await uplink.pull(Pull(None, ""))
        known = Pull(full.cursor, set_digest({(row.entity, row.id): row.rev for row in full.rows}))
        times = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            reply = await rows.round(Round(known, RowsPull(cursors)))
            times.append((time.perf_counter() - started) * 1000)
            assert not reply.state.rows
            assert not any(part.rows or part.more or part.repair for part in reply.rows.parts)
        return times


async def _on_request(placed: Placed) -> list[float]:
    times = []
    async with node_api(placed.node.directory) as api:
        for _ in range(ASKED):
            placed.way.listen()
            done = await api.send("POST", "/v1/sync/now?seconds=10", None, SyncRound)
            assert done.ok, done
            times.append((placed.way.answered - placed.way.asked) * 1000)
    return times


async def _document(site: Site, near: Placed) -> tuple[list[int], list[int]]:
    """Bytes of each change at the node, and of each at the hub."""
    here, there = near.of(Document), site.at_hub(Document)
    chance = random.Random(2)
    sections = [f"{number:04d} {chance.randbytes(48).hex()}" for number in range(SECTIONS)]
    row = await asyncio.to_thread(here.create, Document("a title", sections))
    sent, received = [], []

    async def synced() -> bool:
        return (await asyncio.to_thread(here.info, row.id)).status == "synced"

    await _until(near, synced)
    for number in range(EDITS):  # in turns: each side edits what the other has made
        ours = await asyncio.to_thread(here.read, row.id)
        ours.title = f"title {number} of the node"
        before = near.travelled
        await asyncio.to_thread(here.update, ours)
        await _until(near, synced)
        sent.append(near.travelled - before)
        theirs = await asyncio.to_thread(there.read, row.id)
        theirs.title = title = f"title {number} of the hub"
        before = near.travelled
        await asyncio.to_thread(there.update, theirs)

        async def arrived(title: str = title) -> bool:
            return (await asyncio.to_thread(here.read, row.id)).title == title

        await _until(near, arrived)
        received.append(near.travelled - before)
    return sent, received
