"""Stored batches as the rows that subscribers and people read. Pure."""

from __future__ import annotations

from typing import get_args

from skerry.kit.clock import iso
from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line
from skerry.wire.records import Batch, Kind, Record, Row

_KINDS = get_args(Kind)


def row(batch: Batch, record: Record, node: str, cursor: str | None = None) -> Row:
    """One record of `batch`; `cursor` is the place in a subscription just after it."""
    return Row(
        timestamp=iso(record.at),
        name=record.name,
        value=record.value,
        meta=record.meta or {},
        node=node,
        source=batch.source,
        at=record.at,
        kind=batch.kind,
        cursor=cursor,
    )


def check_kind(kind: str | None) -> None:
    """Raises InvalidInput when `kind` is neither a kind of record nor None (every kind)."""
    if kind is not None and kind not in _KINDS:
        raise InvalidInput(f"cannot read kind «{one_line(kind)}»: it is one of {', '.join(_KINDS)}")
