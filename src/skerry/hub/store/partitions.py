"""PostgreSQL's partitions of `record`: below each kind one for every stretch of time, and one for all other times.

`data.retention` creates them ahead and drops them (ADR 0012). Which ones there should be is decided by `missing`, pure.
All times are records' own (`at`), in ns since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from skerry.hub.store import locks
from skerry.hub.store.tables import KINDS
from skerry.kit.clock import NS, iso
from skerry.wire.records import Kind

DAY = 86_400 * NS
AHEAD = 7 * DAY
"""So far before its time a partition is there: a device's clock may be fast, and the job late."""

_BY_WEEK = 92 * DAY
_PATIENCE = "2s"
"""How long creating and dropping wait for whoever reads or writes; everybody else waits behind them."""

_BOUNDS = re.compile(r"FOR VALUES FROM \('(-?\d+)'\) TO \('(-?\d+)'\)")


@dataclass(frozen=True, order=True)
class Partition:
    """Records of one kind from `lower` to before `upper`."""

    lower: int
    upper: int
    table: str


def width(age: int) -> int:
    """How much time one partition holds where records are kept for `age` (ns)."""
    return 7 * DAY if age > _BY_WEEK else DAY


def missing(kind: Kind, held: Sequence[Partition], age: int, now: int) -> list[Partition]:
    """What is to be created so that times from `now` to AHEAD of it have a partition.

    Those that are there may have had another width.
    """
    step = width(age)
    lower = max([part.upper for part in held], default=now // step * step)
    lower = max(lower, now // step * step)
    made = []
    while lower < now + AHEAD:
        upper = (lower // step + 1) * step
        made.append(Partition(lower, upper, f"record_{kind}_{iso(lower)[:10].replace('-', '')}"))
        lower = upper
    return made


def read(connection: Connection, kind: Kind) -> list[Partition]:
    """The partitions of a kind but its default one, oldest first."""
    query = text(
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bounds FROM pg_inherits i "
        "JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(:parent)"
    )
    rows = connection.execute(query, {"parent": f"record_{kind}"}).all()
    return sorted(
        Partition(int(bounds[1]), int(bounds[2]), row.relname)
        for row in rows
        if (bounds := _BOUNDS.fullmatch(row.bounds)) is not None
    )


def create(connection: Connection, kind: Kind, age: int, now: int) -> int:
    """Creates what is missing; returns how many. What a default partition holds of their times moves into them."""
    locks.of_partitions(connection)
    made = missing(kind, read(connection, kind), age, now)
    if made:
        _wait_briefly(connection)
    for part in made:
        _create(connection, kind, part)
    _wait_as_usual(connection)
    return len(made)


def drop(connection: Connection, kind: Kind, part: Partition, before: int) -> int | None:
    """Removes a partition when none of its records was received at or after `before` (ns); how many it held, about.

    None: it is still needed. Its lock comes first, so that nothing arrives between question and answer.
    """
    locks.of_partitions(connection)
    _wait_briefly(connection)
    run = connection.exec_driver_sql
    run(f"LOCK TABLE record_{kind}, {part.table} IN ACCESS EXCLUSIVE MODE")
    young = text(f"SELECT EXISTS (SELECT 1 FROM {part.table} WHERE batch_id >= {_YOUNG})")  # noqa: S608 - our own names
    if connection.execute(young, {"kind": kind, "before": before}).scalar_one():
        _wait_as_usual(connection)
        return None
    held = run(f"SELECT count(*) FROM {part.table}").scalar_one()  # noqa: S608 - our own names
    run(f"DROP TABLE {part.table}")
    _wait_as_usual(connection)
    return int(held)


def expire(connection: Connection, kind: Kind, table: str, before: int, limit: int) -> int:
    """Deletes up to `limit` rows of one partition that were received before `before` (ns); returns how many."""
    statement = text(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} "  # noqa: S608 - our own names
        f"WHERE batch_id < {_YOUNG} LIMIT :limit))"
    )
    return connection.execute(statement, {"kind": kind, "before": before, "limit": limit}).rowcount


def expire_batches(connection: Connection, kind: Kind, before: int, limit: int) -> int:
    """Deletes up to `limit` batches that were received before `before` (ns); returns how many."""
    statement = text(
        "DELETE FROM batch WHERE id IN (SELECT id FROM batch WHERE kind = :kind AND received_at < :before "  # noqa: S608 - our own names
        f"AND id < {_YOUNG} ORDER BY received_at LIMIT :limit)"
    )
    return connection.execute(statement, {"kind": kind, "before": before, "limit": limit}).rowcount


def default_of(kind: Kind) -> str:
    """The partition for times that have none."""
    return f"record_{kind}_default"


# The number from which on batches are young. Batches are numbered as they come, by processes whose clocks differ
# little: the oldest young ones are enough. In the same statement as its use, so that a batch which is being written
# is either seen by both or by none.
_YOUNG = (
    "(SELECT coalesce(min(id), 9223372036854775807) FROM (SELECT id FROM batch WHERE kind = :kind "
    "AND received_at >= :before ORDER BY received_at LIMIT 10000) AS oldest)"
)


def _wait_briefly(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE}'")


def _wait_as_usual(connection: Connection) -> None:
    """For the jobs that follow in the same transaction."""
    connection.exec_driver_sql("SET LOCAL lock_timeout TO DEFAULT")


def _create(connection: Connection, kind: Kind, part: Partition) -> None:
    run: Any = connection.exec_driver_sql
    default, bounds = default_of(kind), f"at >= {part.lower} AND at < {part.upper}"
    # Made apart and attached: only the default partition is locked, not the table that everybody writes to.
    run(f"CREATE TABLE {part.table} (LIKE {default} INCLUDING DEFAULTS)")
    run(f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE")
    run(
        f"WITH moved AS (DELETE FROM {default} WHERE {bounds} RETURNING *) "  # noqa: S608 - our own names
        f"INSERT INTO {part.table} SELECT * FROM moved"
    )
    run(
        f"ALTER TABLE {part.table} ADD CONSTRAINT bounds CHECK (kind = {KINDS.index(kind)} AND {bounds})"
    )
    run(
        f"ALTER TABLE record_{kind} ATTACH PARTITION {part.table} FOR VALUES FROM ({part.lower}) TO ({part.upper})"
    )
    run(f"ALTER TABLE {part.table} DROP CONSTRAINT bounds")
