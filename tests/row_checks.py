"""What must fit together in the tables of shared rows, on a node and at a hub, and what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby, pairwise

from sqlalchemy import Connection, Table, select
from tests.hub_rig import HubRig
from tests.row_cuts import RowNode

from skerry.core.lanes import extend
from skerry.core.merging import mark
from skerry.core.row_digests import digest, summed
from skerry.hub.store import shared
from skerry.hub.store.shared_tables import shared_conflict, shared_row, shared_version
from skerry.node.store.shared_table import Held, mark_of
from skerry.wire.codec import decode
from skerry.wire.entities import Find
from skerry.wire.shared import BUCKETS, EditFrame
from skerry.wire.sync import NO_CHAIN, ROW_LANES

Dump = dict[tuple[str, str], bytes]
"""Bodies of rows, by entity and id."""

Version = tuple[str, str, bool, bytes, str]
"""Entity, id, whether deleted, body, and why it is no row."""


def node_fits(node: RowNode) -> None:
    """Rows, bases, outbox, frames and sums say the same."""
    db, table = node.rows.reader, node.rows.table
    assert node.store.rebuilt is None
    for entity in node.rows.declared:
        found = db.execute("SELECT * FROM shared_row WHERE entity = ?", (entity,)).fetchall()
        rows = [Held.of(row) for row in found]
        queued = sorted((row.queued, row.id) for row in rows if row.queued)
        places = db.execute("SELECT seq, id FROM shared_outbox WHERE entity = ?", (entity,))
        assert [tuple(each) for each in places] == queued, f"outbox of {entity}"
        clean = [row for row in rows if not row.queued]
        for row in clean:
            assert row.mark == mark(row.id, row.rev, table.body(entity, row)), (entity, row.id)
            assert table.base(db, entity, row.id) is None, f"base of a clean row: {row.id}"
        marks = [(row.id, row.mark) for row in rows]
        assert node.pulled.sums(entity) == summed([0] * BUCKETS, marks, []), f"sums of {entity}"
        for row in rows:
            base = table.base(db, entity, row.id)
            if base is not None and base.rev > 0:
                assert row.mark == mark_of(row.id, base), (entity, row.id)


async def frames_fit(node: RowNode) -> None:
    """Numbers and chains follow each other, and cover the outbox from its beginning."""
    covered: dict[str, list[tuple[int, int]]] = {}
    for lane in ROW_LANES:
        point = await node.frames.point(lane)
        chain = point.chain
        for number, frame in enumerate(await node.frames.frames(lane, point.n, 1000), point.n + 1):
            assert (frame.n, frame.previous) == (number, chain or NO_CHAIN)
            assert frame.chain == extend(frame.previous, frame.body)
            chain = frame.chain
    found = node.rows.reader.execute("SELECT entity, first, last FROM shared_frame ORDER BY first")
    for entity, first, last in found:
        covered.setdefault(entity, []).append((first, last))
    for spans in covered.values():
        assert all(before[1] < after[0] for before, after in pairwise(spans))


async def unfrozen(node: RowNode, entity: str, ids: Iterable[str]) -> set[Version]:
    """The node's edits that are in no frame: the next ones of the same rows take their place, so the hub never has them."""
    frozen: set[tuple[str, int]] = set()
    for lane in ROW_LANES:
        point = await node.frames.point(lane)
        for each in await node.frames.frames(lane, point.n, 1000):
            frame = decode(each.body, EditFrame, f"frame of {lane}")
            if frame.entity == entity:
                frozen |= {(edit.id, edit.hlc) for edit in frame.edits}
    return {
        (entity, row.id, row.deleted, node.rows.table.body(entity, row), "superseded")
        for row in node.rows.table.find(node.rows.reader, entity, ids).values()
        if row.queued and (row.id, row.hlc) not in frozen
    }


async def node_dump(node: RowNode) -> Dump:
    """All rows of the node."""
    return {
        (entity, row.id): bytes(row.body)
        for entity in node.rows.declared
        for row in (await node.entities.find(entity, Find())).rows
    }


async def hub_fits(hub: HubRig) -> None:
    """Rows and what is counted of them say the same, and no revision was given twice."""

    def read(connection: Connection) -> None:
        its = shared_row.c
        rows = connection.execute(select(shared_row).order_by(its.entity, its.id)).all()
        for entity, some in groupby(rows, lambda row: str(row.entity)):
            marks, newest = [], 0
            for row in some:
                now = 0 if row.deleted else row.mark + shared.MARK_ZERO
                newest = max(newest, row.rev)
                marks.append((row.id, now))
                held = shared.find(connection, entity, row.id)
                assert held is not None
                assert now == (0 if row.deleted else mark(row.id, row.rev, held.body))
            standing = shared.standing(connection, entity)
            assert standing.sums == summed([0] * BUCKETS, marks, [])
            assert standing.live == sum(1 for _, each in marks if each)
            assert standing.newest == newest
        revs = Counter(row.rev for row in rows)
        for table in (shared_version, shared_conflict):
            revs.update(connection.execute(select(table.c.rev)).scalars())
        assert [rev for rev, often in revs.items() if often > 1] == []

    await hub.store.read(read)


async def hub_dump(hub: HubRig) -> Dump:
    """All rows of the hub."""

    def read(connection: Connection) -> Dump:
        its = shared_row.c
        found = connection.execute(select(its.entity, its.id).where(~its.deleted)).all()
        rows = {
            (entity, row_id): shared.find(connection, entity, row_id) for entity, row_id in found
        }
        return {key: row.body for key, row in rows.items() if row is not None}

    return await hub.store.read(read)


async def hub_digests(hub: HubRig, node: RowNode) -> dict[str, str]:
    """Of the node's entities."""

    def read(connection: Connection) -> dict[str, str]:
        names = node.rows.declared
        return {name: digest(shared.standing(connection, name).sums) for name in names}

    return await hub.store.read(read)


async def versions(hub: HubRig, table: Table) -> list[Version]:
    """What rows were and what was not taken, or what waits; sorted."""

    def read(connection: Connection) -> list[Version]:
        return sorted(
            (row.entity, row.id, row.deleted, bytes(row.body), getattr(row, "why", ""))
            for row in connection.execute(select(table))
        )

    return await hub.store.read(read)
