"""A hub's store with encryption at rest, and a canary in everything that people and programs put in."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest
from sqlalchemy import Connection, select
from tests.hub_rig import HubRig, Lanes, batch, spec
from tests.model_cases import content, sha256
from tests.sealing_rig import RULE, wanted, where
from tests.shared_rows import RowNode, put
from tests.speaking_node import Speaking, info
from tests.twin_bodies import ARM

from skerry.hub.files.shelf import Wanted
from skerry.hub.fleet.device_history import note_change
from skerry.hub.fleet.devices import Wanted as DevicesWanted
from skerry.hub.ports import Blobs
from skerry.hub.store.bodies import SEALED, SMALL, TEXT
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.keys import Wish
from skerry.hub.store.rotation import Rotation
from skerry.kit.clock import SystemClock
from skerry.kit.sealing.format import MARK, is_sealed, key_id_of
from skerry.kit.sealing.keys import Rule
from skerry.node.files.chunks import manifest_of
from skerry.wire.codec import encode
from skerry.wire.devices import EdgeOrder, Erasure, ErasureReport
from skerry.wire.files import FileRef
from skerry.wire.inventory import Inventory
from skerry.wire.models import ModelFile, ModelSource, ModelSpec
from skerry.wire.people import Apply
from skerry.wire.sync import StateFrame, StateRow
from skerry.wire.workload import Generation, NodeInfo, Update, WorkloadStatus

CANARY = "canary-in-a-coal-mine"
FILE = MARK + CANARY.encode() + content(700_000)
"""Begins as a sealed body does: so does what a cut leaves of it."""

WAVES = Update(max_unavailable=1, min_healthy=10.0, healthy_within=60.0)


def wish(directory: Path, source: str = "file", rule: Rule = RULE) -> Wish:
    return Wish(wanted(source, rule), where(directory))


@pytest.fixture
def sealed_store(tmp_path: Path, clock: SystemClock) -> Iterator[HubStore]:
    store = HubStore(f"sqlite:///{tmp_path}/hub.db", clock, encryption=wish(tmp_path))
    store.start()
    yield store
    store.stop()


def rotation(hub: HubRig) -> Rotation:
    return rotation_of(hub.store)


def rotation_of(store: HubStore, blobs: Sequence[Blobs] = ()) -> Rotation:
    async def may() -> bool:
        return True

    return Rotation(store, SystemClock(), may, blobs)


async def fill(hub: HubRig) -> str:
    """Puts the canary into every body that there is; returns the node."""
    node = (await hub.enrol("n1", site=CANARY)).node_id
    for value in (CANARY, f"{CANARY} again"):
        workload = spec("a", env={"TOKEN": value}, models=["m"], update=WAVES)
        model = ModelSpec(
            name="m",
            files=[ModelFile("m.bin", "0" * 64, 9)],
            source=ModelSource(url=f"https://models.example/{CANARY}"),
        )
        await hub.workloads.apply(Apply([workload], models=[model]), "ann")
    lanes = Lanes()
    body = WorkloadStatus("a", Generation(1, 1), "running", 1, message=CANARY)
    row = StateRow("status", "a", 0, 1, "node", body=msgspec.Raw(encode(body)))
    await hub.push(node, lanes.unit("state", [StateFrame([row])]))
    texts = batch(CANARY, f"{CANARY}\0", 17, 1.5, True, note=CANARY)
    file = batch(str(FileRef(sha256(FILE), len(FILE))), kind="file", counter=9, lens=CANARY)
    await hub.push(node, lanes.unit("keep", [texts]))
    await hub.push(node, lanes.unit("event", [file]))
    sent = manifest_of(sha256(FILE), len(FILE), lambda start, size: FILE[start : start + size])
    await hub.arrivals.offer(node, sent)
    await hub.arrivals.take(node, sha256(FILE), 0, FILE[:9000])  # a tail, and a manifest
    await fill_shared_rows(hub)
    await fill_devices(hub)
    await fill_orders(hub)
    return node


async def fill_devices(hub: HubRig) -> None:
    """A device whose inventory has changed, and one that has erased itself."""
    enrolled = await hub.enrol("gone")
    before = NodeInfo("gone", {}, "0.1", "arm64", "Linux", "3.11", "boot", 1)
    now = msgspec.structs.replace(before, system=CANARY)
    await hub.store.write(lambda c: note_change(c, enrolled.node_id, before, now, 1))
    await hub.retiring.decommission("gone", "", "ann", now=True)
    order = await hub.retiring.order_for(f"{enrolled.node_id}.{enrolled.secret}")
    assert order is not None
    text = encode(
        Erasure(order.node_id, order.name, order.hub_id, 1, 2, [], False, 3, 4, [CANARY], [], "0.1")
    ).decode()
    mac = hmac.new(order.receipt.encode(), text.encode(), "sha256").hexdigest()
    await hub.retiring.take_erasure(ErasureReport(order.node_id, text, mac))


async def fill_orders(hub: HubRig) -> None:
    """A command to a twin's driver, which has answered."""
    node = Speaking(hub, (await hub.enrol("arm")).node_id)
    await node.tell(info(node.node_id, 1, Inventory(capabilities=["orders", "edge-orders"])))
    payload = msgspec.Raw(encode({"command": "say", "data": CANARY}))
    given = await hub.devices.order("arm", EdgeOrder("twin_command", "", ARM, payload), 60, "ann")
    await node.answer(given.id, "done", reply=encode({"status": "ok", "said": CANARY}).decode())
    await hub.retiring.settle()


async def fill_shared_rows(hub: HubRig) -> None:
    """A row, what it was, and an edit of it that waits."""
    declared = put("recipe", {"strategy": "manual", "keys": {"steps": CANARY}})
    await RowNode(hub, "a").push("entity", declared)
    [rev] = (await RowNode(hub, "b").push("recipe", put("r", {"text": CANARY}))).revs
    for name in ("c", "d"):
        await RowNode(hub, name).push("recipe", put("r", {name: CANARY}, rev, 5))


async def everything(hub: HubRig) -> list[object]:
    """What people and nodes see of it."""
    views = await hub.workloads.list()
    return [
        (await hub.query.records()).rows,
        [(view.spec, view.nodes["n1"].status, view.update) for view in views],
        [version.spec for version in await hub.workloads.history("a")],
        await hub.models.list(),
        [(view.name, view.labels) for view in await hub.nodes.list()],
        (await hub.shelf.list(Wanted(), 9)).files,
        (await hub.arrivals.state((await hub.nodes.find("n1")) or "", sha256(FILE))),
        (await hub.shared_rows.list("recipe")).rows,
        await hub.shared_rows.history("recipe", "r"),
        await hub.shared_rows.conflict("recipe", "r"),
        [each.erased for each in (await hub.devices.list(DevicesWanted())).devices],
        [each.reply for each in (await hub.devices.get("arm")).commands],
    ]


def stored(connection: Connection) -> Iterator[tuple[str, bytes | str]]:
    """Every body as it is stored, with its place; nothing that is empty."""
    for body in (*SMALL, TEXT):
        row = [body.table.c[name] for name in body.row]
        for found in connection.execute(select(body.column, *row)):
            if found[0]:
                yield f"{body.column} of {' '.join(map(str, found[1:]))}", found[0]


def key_ids(connection: Connection) -> set[int]:
    """The keys that bodies name; 0 for plain ones."""
    found = set()
    for place, body in stored(connection):
        if "hub_id" in place:
            continue
        sealed = body if isinstance(body, bytes) else _decoded(body)
        found.add(key_id_of(sealed) if is_sealed(sealed) else 0)
    return found


def _decoded(body: str) -> bytes:
    return base64.b64decode(body.removeprefix(SEALED)) if body.startswith(SEALED) else b""


def raw(url: str) -> bytes:
    """All that is stored: the files of SQLite, or what COPY gives out of PostgreSQL's tables."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        path = Path(parts.path)
        return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))
    found = b""
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        for (name,) in names:
            for form in ("text", "binary"):
                with connection.cursor().copy(f'COPY "{name}" TO STDOUT (FORMAT {form})') as copy:
                    found += b"".join(bytes(piece) for piece in copy)
    return found
