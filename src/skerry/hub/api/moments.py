"""Times that people ask for: ns since 1970, of any size, for a database that knows 64 bits."""

from __future__ import annotations

from skerry.wire.records import INT64


def moment(at: int | None) -> int | None:
    """The nearest time that the database can hold; no record is beyond it."""
    return None if at is None else max(-INT64, min(at, INT64 - 1))
