"""Models as tables: the hub's, and those that the node here has."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.cli.output import Cell, Line, Table, ago, words
from skerry.kit.units import format_size
from skerry.wire.models import CachedModel, ModelCache, ModelSource, ModelView


def models_table(views: Sequence[ModelView]) -> Table:
    """One row for each model of the fleet."""
    return Table(
        ("NAME", "FORMAT", "SIZE", "FILES", "SOURCE", "USED BY"),
        [
            (
                view.name,
                view.spec.format,
                _size(view.spec.size),
                words([file.name for file in view.spec.files]),
                source_text(view.spec.source),
                words(view.used_by),
            )
            for view in views
        ],
        views,
        "no models: «skerry model push FILE --name NAME» makes one",
    )


def cache_table(cache: ModelCache, now: int) -> Table:
    """One row for each model that the node has or fetches."""
    lead = (
        f"{format_size(cache.used)} of {format_size(cache.limit)}, "
        f"{format_size(cache.evictable)} of it not needed at present"
    )
    return Table(
        ("NAME", "FORMAT", "SIZE", "FETCHED", "USED BY", "LAST USED", "MISSING"),
        [_cached_row(each, now) for each in cache.models],
        cache,
        "this node has no models",
        lead=[Line(lead)] if cache.models else [],
    )


def source_text(source: ModelSource) -> str:
    """Where the files come from, in one word."""
    return "hub" if source.hub else source.url or source.file or ""


def _cached_row(each: CachedModel, now: int) -> Sequence[Cell | str]:
    return (
        each.name,
        each.format,
        _size(each.size),
        _size(each.fetched),
        words(each.used_by),
        ago(each.last_used_at, now) if each.last_used_at else Cell("", raw=""),
        each.missing,
    )


def _size(size: int) -> Cell:
    return Cell(format_size(size), raw=size)
