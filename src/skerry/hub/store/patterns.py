"""Patterns with «*» in the words of each database."""

from __future__ import annotations

from sqlalchemy import Column, ColumnElement, Connection


def fits(connection: Connection, column: Column[str], pattern: str) -> ColumnElement[bool]:
    """Whether a text fits `pattern`, in which «*» stands for any run of characters."""
    if "*" not in pattern:
        return column == pattern
    if connection.dialect.name == "postgresql":
        escaped = pattern.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        return column.like(escaped.replace("*", "%"), escape="\\")
    escaped = pattern.replace("[", "[[]").replace("?", "[?]")
    return column.bool_op("GLOB")(escaped)
