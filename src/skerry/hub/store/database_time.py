"""The clock that all hub processes of one PostgreSQL share."""

from __future__ import annotations

from sqlalchemy import BigInteger, ColumnElement, cast, func, literal

from skerry.kit.clock import NS


def database_time() -> ColumnElement[int]:
    """PostgreSQL's clock in ns since 1970: one for all processes."""
    return cast(func.extract("epoch", func.clock_timestamp()) * literal(NS), BigInteger)
