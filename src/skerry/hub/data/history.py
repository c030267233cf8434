"""The recent course of series for charts: means over equal steps of time, computed by the database.

A chart needs a hundred points, not the thousands of records behind them; reading those would cost more
than everything else that the page shows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Double, and_, cast, func, select

from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, KINDS, VALUE_FLOAT, VALUE_INT, node, record, series


@dataclass(frozen=True)
class Course:
    """One series over a span of time: its mean in each step (None: no record), and its extremes."""

    name: str
    node: str
    source: str
    low: float
    high: float
    means: Sequence[float | None]


class RecordHistory:
    """Courses of measurements. Nodes are named as in `data.query`."""

    def __init__(self, store: HubStore) -> None:
        self._store = store

    async def courses(
        self, names: Collection[str], since: int, until: int, steps: int
    ) -> list[Course]:
        """Every series of these names that has numbers in since <= at < until (ns since 1970)."""
        return await self._store.read(
            lambda connection: _courses(connection, names, since, until, steps)
        )


def _courses(
    connection: Connection, names: Collection[str], since: int, until: int, steps: int
) -> list[Course]:
    value = func.coalesce(record.c.double, cast(record.c.integer, Double))
    step = ((record.c.at - since) * steps // (until - since)).label("step")
    of_node = func.coalesce(node.c.name, series.c.node_id).label("node")
    within = and_(
        record.c.series_id == series.c.id,
        record.c.at >= since,
        record.c.at < until,
        record.c.kind == KINDS.index("measurement"),
        record.c.type.in_([VALUE_INT, VALUE_FLOAT]),
    )
    query = (
        select(
            series.c.id, series.c.name, of_node, series.c.source, step,
            func.avg(value).label("mean"), func.min(value).label("low"), func.max(value).label("high"),
        )
        .select_from(series)
        .join(record, within)
        .outerjoin(node, node.c.id == series.c.node_id)
        .where(
            series.c.fleet_id == FLEET, series.c.kind == "measurement", series.c.name.in_(names)
        )
        .group_by(series.c.id, series.c.name, of_node, series.c.source, step)
        .order_by(series.c.name, of_node, series.c.source, series.c.id, step)
    )  # fmt: skip
    by_series = groupby(connection.execute(query), key=lambda row: row.id)
    return [_course(list(rows), steps) for _, rows in by_series]


def _course(rows: Sequence[Any], steps: int) -> Course:
    means: list[float | None] = [None] * steps
    for row in rows:
        means[row.step] = row.mean
    return Course(
        name=rows[0].name,
        node=rows[0].node,
        source=rows[0].source,
        low=min(row.low for row in rows),
        high=max(row.high for row in rows),
        means=means,
    )
