"""Writes record batches: each record once, whatever history brought it here.

Part of a push's transaction (`sync.push`). What records repeat (series, session, meta) is kept in
dictionaries; the record itself goes in by the fastest way that each database has and skips what is
there already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from skerry.hub.data.dictionary import Dictionary
from skerry.hub.data.values import meta_hash, seal, store_meta
from skerry.hub.store.bodies import FILE_META, META, Bodies
from skerry.hub.store.bulk import insert_new
from skerry.hub.store.tables import FLEET, KINDS, batch, file, meta, record, series, session
from skerry.kit.errors import InvalidInput
from skerry.wire.files import read_reference
from skerry.wire.records import Batch

_CACHED_SERIES = 50_000
_CACHED_SESSIONS = 20_000
_CACHED_METAS = 20_000

_Row = tuple[
    int, int, int, int, int, int | None, int, int | None, float | None, str | None, int
]  # fmt: skip


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
        prepared = [_prepare(node_id, item) for item in batches]
        keys = self._series.resolve(
            connection,
            {key for item in prepared for key in item.series.values()},
            received_at,
            lambda key: {"fleet_id": FLEET, **key._asdict()},
        )
        tokens = self._sessions.resolve(
            connection, {item.session for item in prepared}, received_at, _Session._asdict
        )
        bodies, index_key = Bodies.of(connection), self._index_key()
        texts = {meta_hash(text, index_key): text for item in prepared for text in item.texts}
        metas = self._metas.resolve(
            connection,
            texts,
            received_at,
            lambda key: {"hash": key, "json": bodies.seal_text(META, texts[key], key)},
        )
        meta_ids = {text: metas.ids[key] for key, text in texts.items()}
        numbers = _number(connection, boot_id, received_at, batches)
        rows: list[_Row] = []
        for number, item in zip(numbers, prepared, strict=True):
            series_ids = {name: keys.ids[key] for name, key in item.series.items()}
            rows.extend(_rows(bodies, item, number, series_ids, tokens.ids[item.session], meta_ids))
        files = [
            row
            for item in prepared
            if item.batch.kind == "file"
            for row in _file_rows(
                bodies, node_id, item.batch, tokens.ids[item.session], received_at
            )
        ]
        if files:
            insert_new(connection, file, files)
        rows.sort()  # neighbours in the table are written together
        insert_new(connection, record, rows)

        def learn() -> None:
            self._series.learn(keys)
            self._sessions.learn(tokens)
            self._metas.learn(metas)

        return learn


@dataclass(frozen=True)
class _Prepared:
    """A batch and what the dictionaries are asked for; `metas` has one entry for each record."""

    batch: Batch
    series: dict[str, _Series]
    session: _Session
    metas: list[str | None]
    texts: set[str]


def _prepare(node_id: str, item: Batch) -> _Prepared:
    names = {each.name for each in item.records}
    metas = [store_meta(each.meta) if each.meta else None for each in item.records]
    return _Prepared(
        item,
        {name: _Series(node_id, item.source, item.kind, name) for name in names},
        _Session(node_id, item.session),
        metas,
        {text for text in metas if text is not None},
    )


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
    return (
        connection.execute(
            batch.insert().returning(batch.c.id, sort_by_parameter_order=True),
            [
                {
                    "kind": item.kind,
                    "boot_id": boot_id,
                    "accepted_at": item.accepted_at,
                    "monotonic": item.monotonic,
                    "quality": item.quality,
                    "received_at": received_at,
                }
                for item in batches
            ],
        )
        .scalars()
        .all()
    )


def _rows(
    bodies: Bodies,
    item: _Prepared,
    number: int,
    series_ids: dict[str, int],
    session_id: int,
    meta_ids: dict[str, int],
) -> Iterator[_Row]:
    """The columns of each record, in the order of the table."""
    first, kind = item.batch.counter, KINDS.index(item.batch.kind)
    for each, text in zip(item.batch.records, item.metas, strict=True):
        identity = (series_ids[each.name], each.at, session_id, first + each.offset)
        yield (
            *identity,
            number,
            None if text is None else meta_ids[text],
            *seal(bodies, each.value, *identity),
            kind,
        )
