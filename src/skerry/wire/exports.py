"""Records on their way out of the hub as a file: a stream of lines, of which the last one says that it is whole."""

from __future__ import annotations

import msgspec

from skerry.wire.records import Kind, Meta, Value


class ExportRow(msgspec.Struct, frozen=True, array_like=True):
    """One record. `at` is ns since 1970."""

    at: int
    name: str
    node: str
    source: str
    kind: Kind
    value: Value
    meta: Meta


class ExportLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some rows in the order of their time; the last line has none and says how many there were.

    So many more are `damaged`, and are left out.
    """

    rows: list[ExportRow] = []
    end: int | None = None
    damaged: int = 0
