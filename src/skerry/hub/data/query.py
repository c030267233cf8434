"""Reads records for people: by pattern and time, and the newest value of every series.

Records lie ordered by series and time, so both questions are short walks along each series from its
newest end, however many records there are. What rows repeat (series, node, meta) is read once, beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, TypeVar, Unpack

from sqlalchemy import ColumnElement, Connection, func, literal, or_, select

from skerry.hub.data import answers
from skerry.hub.data.answers import Found, Series
from skerry.hub.data.damage import Damage
from skerry.hub.data.newest import Newest, Span, newest, newest_first, of_kind
from skerry.hub.data.values import restore_meta
from skerry.hub.store import readings
from skerry.hub.store.bodies import META, Bodies
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.keys import RingGone
from skerry.hub.store.patterns import fits
from skerry.hub.store.readings import Read, Reading
from skerry.hub.store.tables import FLEET, meta, node, record, series
from skerry.kit.errors import Corrupt, InvalidInput
from skerry.wire.people import Columns, Rows
from skerry.wire.records import INT64, Kind, Meta, Row

T = TypeVar("T")

MAX_LIMIT = 100_000

_AT_ONCE = 500
"""Ids in one statement."""

_NODE = func.coalesce(node.c.name, series.c.node_id).label("node")


class Asked(TypedDict, total=False):
    """Which records: since <= at < until, ns since 1970; «*» in `name` stands for any run of characters.

    A node is named by its name (its id works too); a removed one by its id. Of `nodes` (their ids) and of no other; None: all.
    """

    name: str
    node: str | None
    source: str | None
    kind: Kind | None
    since: int | None
    until: int | None
    nodes: Collection[str] | None


@dataclass(frozen=True)
class Wanted:
    """As `Asked`, all of it said; None leaves a filter out."""

    name: str = "*"
    node: str | None = None
    source: str | None = None
    kind: Kind | None = None
    since: int | None = None
    until: int | None = None
    nodes: Collection[str] | None = None


@dataclass(frozen=True, kw_only=True)
class _Question(Wanted):
    limit: int

    @property
    def first(self) -> int:
        return -INT64 if self.since is None else _in_range(self.since)

    @property
    def last(self) -> int:
        return INT64 - 1 if self.until is None else _in_range(self.until - 1)


class RecordQuery:
    """Records as people read them. Those that are damaged are left out of answers, which say how many; `damage` knows them."""

    def __init__(self, store: HubStore) -> None:
        self.damage = Damage()
        self._store = store

    async def records(self, limit: int = 1000, **asked: Unpack[Asked]) -> Rows:
        """The newest `limit` matching rows, oldest first. Raises InvalidInput when `limit` is out of range."""
        question = _checked(limit, asked)
        return await self._read(lambda connection: _find(connection, question), answers.rows)

    async def columns(self, limit: int = 1000, **asked: Unpack[Asked]) -> Columns:
        """As `records`, by series and column: a tenth of the work, and of the bytes, for long series."""
        question = _checked(limit, asked)
        return await self._read(lambda connection: _find(connection, question), answers.columns)

    async def latest(
        self, node: str | None = None, nodes: Collection[str] | None = None
    ) -> list[Row]:
        """The newest measurement of every series, by node, source and name."""

        def find(connection: Connection) -> Found:
            fitting = series.c.kind == "measurement", _of_node(node), among(nodes)
            span = Span(-INT64, INT64 - 1, "measurement")
            found = readings.read(connection, *newest(connection, span, 1, *fitting))
            found, metas = _with_metas(connection, found)
            names = _named(connection, *fitting)
            return Found(found.readings, names, metas, damaged=found.damaged)

        return await self._read(find, _newest_of_each)

    async def _read(self, find: Callable[[Connection], Found], form: Callable[[Found], T]) -> T:
        """Finds and forms in a reader's thread."""

        def work(connection: Connection) -> tuple[T, Sequence[str]]:
            found = find(connection)
            return form(found), found.damaged

        answer, damaged = await self._store.read(work)
        self.damage.meet(damaged)
        return answer


def _newest_of_each(found: Found) -> list[Row]:
    newest_first: dict[tuple[str, str, str], Row] = {}
    for row in answers.rows(found).rows:
        newest_first.setdefault((row.node, row.source, row.name), row)
    return [newest_first[key] for key in sorted(newest_first)]


def _checked(limit: int, asked: Asked) -> _Question:
    question = _Question(**asked, limit=limit)
    if not 1 <= question.limit <= MAX_LIMIT:
        raise InvalidInput(
            f"cannot query {question.limit} records: write a limit from 1 to {MAX_LIMIT}"
        )
    return question


def _find(connection: Connection, question: _Question) -> Found:
    fitting = (
        series.c.fleet_id == FLEET,
        fits(connection, series.c.name, question.name),
        _is(series.c.source, question.source),
        _is(series.c.kind, question.kind),
        _of_node(question.node),
        among(question.nodes),
    )
    some = (
        select(series.c.id, series.c.kind)
        .outerjoin(node, node.c.id == series.c.node_id)
        .where(*fitting)
        .limit(2)
    )
    match connection.execute(some).all():
        case [lone]:
            query, of = _along(lone.id, lone.kind, question)
        case _:
            span = Span(question.first, question.last, question.kind)
            query, of = newest(connection, span, question.limit + 1, *fitting)
    found = readings.read(connection, query.limit(question.limit + 1), of)
    truncated = found.all > question.limit
    found, metas = _with_metas(
        connection, Read(found.readings[: question.limit][::-1], found.damaged)
    )
    names = _names_of(connection, found.readings)
    return Found(found.readings, names, metas, truncated, found.damaged)


def _along(series_id: int, kind: Kind, question: _Question) -> Newest:
    """The records of one series, newest first: as they lie in the table, so nothing is sorted."""
    query = (
        select(*readings.columns())
        .where(record.c.series_id == series_id, of_kind(kind))
        .where(record.c.at >= question.first, record.c.at <= question.last)
        .order_by(*newest_first())
    )
    return Newest(query, record)


def _named(connection: Connection, *fitting: ColumnElement[bool]) -> Mapping[int, Series]:
    query = select(series.c.id, _NODE, series.c.source, series.c.name, series.c.kind)
    query = query.outerjoin(node, node.c.id == series.c.node_id).where(*fitting)
    return {number: Series(*names) for number, *names in connection.execute(query)}


def _names_of(connection: Connection, found: Sequence[Reading]) -> Mapping[int, Series]:
    names: dict[int, Series] = {}
    for part in _parts({reading[0] for reading in found}):
        names.update(_named(connection, series.c.id.in_(part)))
    return names


def _with_metas(connection: Connection, found: Read) -> tuple[Read, Mapping[int, Meta]]:
    """The metas that records name. Those whose meta is damaged are left out, too."""
    query, bodies = select(meta.c.id, meta.c.json, meta.c.hash), Bodies.of(connection)
    metas: dict[int, Meta] = {}
    damaged: dict[int | None, str] = {}
    for part in _parts({reading[-1] for reading in found.readings} - {None}):
        for number, text, name in connection.execute(query.where(meta.c.id.in_(part))).all():
            try:
                metas[number] = restore_meta(bodies.open_text(META, text, name))
            except RingGone:
                raise
            except Corrupt as error:
                damaged[number] = str(error)
    if not damaged:
        return found, metas
    whole = [reading for reading in found.readings if reading[-1] not in damaged]
    lost = [damaged[reading[-1]] for reading in found.readings if reading[-1] in damaged]
    return Read(whole, [*found.damaged, *lost]), metas


def _parts(ids: Collection[int | None]) -> Iterator[Sequence[int | None]]:
    ordered = list(ids)
    return (ordered[start : start + _AT_ONCE] for start in range(0, len(ordered), _AT_ONCE))


def _is(column: ColumnElement[str], value: str | None) -> ColumnElement[bool]:
    return literal(value=True) if value is None else column == value


def _of_node(name: str | None) -> ColumnElement[bool]:
    return (
        literal(value=True) if name is None else or_(node.c.name == name, series.c.node_id == name)
    )


def among(nodes: Collection[str] | None) -> ColumnElement[bool]:
    """Series of these nodes, by their ids; None: of all."""
    return literal(value=True) if nodes is None else series.c.node_id.in_(nodes)


def _in_range(at: int) -> int:
    """The nearest time that the database can hold; no record is beyond it."""
    return max(-INT64, min(at, INT64 - 1))
