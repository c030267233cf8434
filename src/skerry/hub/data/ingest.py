"""Writes record batches: each record once, whatever history brought it here.

Part of a push's transaction (`sync.push`). What records repeat (series, session, meta) is kept in
dictionaries; the record itself goes in by the fastest way that each database has and skips what is
there already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import NamedTuple

from sqlalchemy import Connection

from skerry.hub.data.dictionary import Dictionary
from skerry.hub.data.values import meta_hash, seal, store_meta
from skerry.hub.store.bodies import FILE_META, META, Bodies
from skerry.hub.store.bulk import insert_new, insert_numbered
from skerry.hub.store.tables import (
    FLEET,
    KINDS,
    VALUE_FLOAT,
    VALUE_INT,
    batch,
    file,
    meta,
    record,
    series,
    session,
)
from skerry.kit.errors import InvalidInput
from skerry.wire.files import read_reference
from skerry.wire.records import Batch, Record

_CACHED_SERIES = 50_000
_CACHED_SESSIONS = 20_000
_CACHED_METAS = 20_000

_MANY = 100
"""Records from which on it pays to write those that are bare numbers by statements of their own."""

_NUMBERS = {VALUE_INT: "integer", VALUE_FLOAT: "double"}
"""The column that a number is in, by `record.type`."""


class _Series(NamedTuple):
    node_id: str
    source: str
    kind: str
    name: str


class _Session(NamedTuple):
    node_id: str
    token: str


class Ingest:
    """Built once: its caches are what makes it fast. Used in the writer's thread.

    `index_key` gives `Facts.index_key` once the store is open.
    """

    def __init__(self, index_key: Callable[[], bytes] = bytes) -> None:
        self._index_key = index_key
        self._series = Dictionary[_Series](
            series, ("node_id", "source", "kind", "name"), limit=_CACHED_SERIES
        )
        self._sessions = Dictionary[_Session](session, ("node_id", "token"), limit=_CACHED_SESSIONS)
        self._metas = Dictionary[str](meta, ("hash",), limit=_CACHED_METAS)

    def ingest(
        self,
        connection: Connection,
        node_id: str,
        boot_id: str,
        received_at: int,
        batches: Sequence[Batch],
    ) -> Callable[[], None]:
        """Writes the records of `batches`; returns what is to be called after the commit.

        What is already there stays as it is. `received_at` is in ns since 1970.
        """
        for dictionary in (self._series, self._sessions, self._metas):
            dictionary.meet(connection)
        metas = [_metas_of(item) for item in batches]
        keys = self._series.resolve(
            connection,
            _series_of(node_id, batches),
            received_at,
            lambda key: {"fleet_id": FLEET, **key._asdict()},
        )
        tokens = self._sessions.resolve(
            connection,
            {_Session(node_id, item.session) for item in batches},
            received_at,
            _Session._asdict,
        )
        bodies, index_key = Bodies.of(connection), self._index_key()
        texts = {
            meta_hash(text, index_key): text
            for text in set(chain.from_iterable(filter(None, metas)))
            if text is not None
        }
        numbered = self._metas.resolve(
            connection,
            texts,
            received_at,
            lambda key: {"hash": key, "json": bodies.seal_text(META, texts[key], key)},
        )
        ids = _Ids(
            _by_name(keys.ids),
            {key.token: number for key, number in tokens.ids.items()},
            {text: numbered.ids[key] for key, text in texts.items()},
        )
        numbers = _number(connection, boot_id, received_at, batches)
        _files(connection, bodies, node_id, received_at, batches, ids)
        _records(connection, bodies, list(zip(numbers, batches, metas, strict=True)), ids)

        def learn() -> None:
            self._series.learn(keys)
            self._sessions.learn(tokens)
            self._metas.learn(numbered)

        return learn


class _Ids(NamedTuple):
    """What the dictionaries say: series by source and kind, then by name; sessions by token; metas by their text."""

    series: Mapping[tuple[str, str], Mapping[str, int]]
    sessions: Mapping[str, int]
    metas: Mapping[str, int]


def _series_of(node_id: str, batches: Sequence[Batch]) -> set[_Series]:
    names: dict[tuple[str, str], set[str]] = {}
    for item in batches:
        known = names.setdefault((item.source, item.kind), set())
        known.update([each.name for each in item.records])
    return {
        _Series(node_id, source, kind, name)
        for (source, kind), held in names.items()
        for name in held
    }


def _by_name(ids: Mapping[_Series, int]) -> Mapping[tuple[str, str], Mapping[str, int]]:
    found: dict[tuple[str, str], dict[str, int]] = {}
    for key, number in ids.items():
        found.setdefault((key.source, key.kind), {})[key.name] = number
    return found


def _metas_of(item: Batch) -> list[str | None] | None:
    """The meta of each record as text; None when none has any."""
    metas = [each.meta for each in item.records]
    return [store_meta(meta) if meta else None for meta in metas] if any(metas) else None


def _files(
    connection: Connection,
    bodies: Bodies,
    node_id: str,
    received_at: int,
    batches: Sequence[Batch],
    ids: _Ids,
) -> None:
    rows = [
        row
        for item in batches
        if item.kind == "file"
        for row in _file_rows(bodies, node_id, item, ids.sessions[item.session], received_at)
    ]
    insert_new(connection, file, rows)


def _file_rows(
    bodies: Bodies, node_id: str, item: Batch, session_id: int, received_at: int
) -> Iterator[tuple[object, ...]]:
    """The rows of `file` for a batch of that kind. A record that names nothing is only a record."""
    for each in item.records:
        try:
            ref = read_reference(each.value)
        except InvalidInput:
            continue
        counter = item.counter + each.offset
        meta = each.meta and bodies.seal_text(FILE_META, store_meta(each.meta), session_id, counter)
        yield (
            session_id,
            counter,
            FLEET,
            node_id,
            item.source,
            each.name,
            each.at,
            received_at,
            ref.sha256,
            ref.size,
            meta or None,
        )


def _number(
    connection: Connection, boot_id: str, received_at: int, batches: Sequence[Batch]
) -> Sequence[int]:
    """Writes the rows that each batch's records share; returns their numbers in order."""
    rows = [
        (item.kind, boot_id, item.accepted_at, item.monotonic, item.quality, received_at)
        for item in batches
    ]
    return insert_numbered(connection, batch, rows)


_Numbered = tuple[int, Batch, list[str | None] | None]
"""A batch with its number, and its metas."""


def _records(
    connection: Connection, bodies: Bodies, batches: Sequence[_Numbered], ids: _Ids
) -> None:
    is_many = sum(len(item.records) for _, item, _ in batches) >= _MANY
    rows = _Rows(bodies, ids)
    for number, item, metas in batches:
        if is_many and metas is None:
            rows.add_plain(item, number)
        else:
            rows.add(item, number, metas)
    rows.write(connection)


class _Rows:
    """The rows of `record` for one transaction.

    Numbers without meta, which nearly all records of a backlog are, lack the columns that say so: `_plain` has them by
    kind and type. Each part is sorted, because neighbours in the table are written together.
    """

    def __init__(self, bodies: Bodies, ids: _Ids) -> None:
        self._bodies = bodies
        self._ids = ids
        self._whole: list[tuple[object, ...]] = []
        self._plain: dict[tuple[int, int], list[tuple[object, ...]]] = defaultdict(list)

    def add(self, item: Batch, number: int, metas: Sequence[str | None] | None) -> None:
        """The records of a batch, all columns in the order of the table."""
        for each, text in zip(item.records, metas or repeat(None), strict=False):
            self._add(item, number, each, text)

    def add_plain(self, item: Batch, number: int) -> None:
        """As `add` for a batch without metas."""
        first, session_id = item.counter, self._ids.sessions[item.session]
        series, kind = self._ids.series[item.source, item.kind], KINDS.index(item.kind)
        integers, floats = self._plain[kind, VALUE_INT], self._plain[kind, VALUE_FLOAT]
        for each in item.records:
            value = each.value
            if type(value) is float:
                part = floats
            elif type(value) is int:  # which a bool is not
                part = integers
            else:
                self._add(item, number, each, None)
                continue
            part.append(
                (series[each.name], each.at, session_id, first + each.offset, number, value)
            )

    def write(self, connection: Connection) -> None:
        """Inserts what is not there."""
        self._whole.sort()
        insert_new(connection, record, self._whole)
        for (kind, value_type), rows in self._plain.items():
            rows.sort()
            others = dict.fromkeys(("meta_id", "integer", "double", "text"))
            del others[_NUMBERS[value_type]]
            insert_new(connection, record, rows, fixed={**others, "type": value_type, "kind": kind})

    def _add(self, item: Batch, number: int, each: Record, text: str | None) -> None:
        identity = (
            self._ids.series[item.source, item.kind][each.name],
            each.at,
            self._ids.sessions[item.session],
            item.counter + each.offset,
        )
        meta_id = None if text is None else self._ids.metas[text]
        stored = seal(self._bodies, each.value, *identity)
        self._whole.append((*identity, number, meta_id, *stored, KINDS.index(item.kind)))
