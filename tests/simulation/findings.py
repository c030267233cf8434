"""What the databases of hub and nodes say at one moment: plain queries, past the product's own reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.simulation.oracle import AtHub, Place, Stood
from tests.simulation.sim_node import SimNode


def own_rows(node: SimNode) -> dict[Place, str]:
    """The rows that a node shows to its workloads."""
    assert node.life is not None
    found = node.life.rows.reader.execute(
        "SELECT entity, id, body FROM shared_row WHERE deleted = 0"
    ).fetchall()
    return {(row["entity"], row["id"]): bytes(row["body"]).decode() for row in found}


def shown_conflicts(node: SimNode) -> set[Place]:
    """The rows of which a node says that an edit of its own waits for a person."""
    assert node.life is not None
    found = node.life.rows.reader.execute("SELECT entity, id FROM shared_conflict").fetchall()
    return {(row["entity"], row["id"]) for row in found}


def repairs_of(node: SimNode) -> list[str]:
    """What a node has told of differences that it found between its rows and the hub's."""
    assert node.life is not None
    found = node.life.rows.reader.execute(
        "SELECT details FROM sync_log WHERE operation = 'repair'"
    ).fetchall()
    return [str(row["details"]) for row in found]


async def own_statuses(node: SimNode) -> dict[Place, str]:
    """What a node says of its workloads, by its id and theirs."""
    assert node.life is not None
    rows = await node.life.opened.state.rows("status")
    return {(node.id, row.id): bytes(row.body).decode() for row in rows}


def read_hub(query: Callable[[str], Iterable[Any]]) -> AtHub:
    """What the hub's database says."""
    records = query(
        "SELECT s.token, r.counter, r.text FROM record r JOIN session s ON s.id = r.session_id WHERE r.kind <> 2"
    )
    rows = query("SELECT entity, id, body FROM shared_row WHERE NOT deleted")
    history = query("SELECT entity, id, body FROM shared_version WHERE NOT deleted")
    waiting = query("SELECT entity, id, body FROM shared_conflict WHERE NOT deleted")
    versions = query(
        "SELECT entity, id, rev, hlc, was_row, why, body FROM shared_version "
        "UNION ALL SELECT entity, id, rev, hlc, 1, '', body FROM shared_row"
    )
    return AtHub(
        [((str(token), int(str(counter))), str(value)) for token, counter, value in records],
        {(str(entity), str(id_)): _plain(body) for entity, id_, body in rows},
        [((str(entity), str(id_)), _plain(body)) for entity, id_, body in history],
        [((str(entity), str(id_)), _plain(body)) for entity, id_, body in waiting],
        [
            Stood((str(entity), str(id_)), rev, clock, bool(was_row), str(why), _plain(body))
            for entity, id_, rev, clock, was_row, why, body in versions
        ],
    )


def _plain(body: object) -> str:
    assert isinstance(body, bytes)
    return body.decode()
