"""Tables on a terminal: what a line is about stays whole, what is said of it is broken into lines or stands below. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.console import Console
from rich.text import Text

_GAP = "  "
_INDENT = "    "
_LEAST = 8
"""Columns that a broken text has, unless not even that is there."""


def grid(
    heads: Sequence[str], rows: Sequence[Sequence[Text]], console: Console, below: int | None = None
) -> Iterator[Text]:
    """The lines of a table, its heads first; where they would be too long for the console, column `below` is below each row."""
    widths = [max(len(head), *(row[at].cell_len for row in rows)) for at, head in enumerate(heads)]
    if below is None or sum(widths) + len(_GAP) * (len(widths) - 1) <= console.width:
        below = None
    shown = [at for at in range(len(heads)) if at != below]
    widths = _fitted([widths[at] for at in shown], console.width)
    yield from _row([Text(heads[at], "bold") for at in shown], widths, console)
    for row in rows:
        yield from _row([row[at] for at in shown], widths, console)
        if below is not None and row[below].plain:
            for line in row[below].wrap(console, console.width - len(_INDENT), overflow="fold"):
                line.rstrip()
                yield Text(_INDENT).append_text(line)


def _fitted(widths: list[int], width: int) -> list[int]:
    """Narrower ones, the widest first, as far as it takes: the first column only when nothing else helps."""
    fitted, room = list(widths), width - len(_GAP) * (len(widths) - 1)
    others = range(0 if fitted[0] > room // 2 else 1, len(fitted))
    while sum(fitted) > room and (
        candidates := [at for at in others if fitted[at] > _LEAST]
        or [at for at in range(len(fitted)) if fitted[at] > 1]
    ):
        widest = max(candidates, key=lambda at: fitted[at])
        fitted[widest] -= 1
    return fitted


def _row(cells: Sequence[Text], widths: Sequence[int], console: Console) -> Iterator[Text]:
    broken = [
        cell.wrap(console, width, overflow="fold")
        for cell, width in zip(cells, widths, strict=True)
    ]
    for parts in zip_longest(*broken, fillvalue=Text("")):
        line = Text()
        for part, width in zip(parts, widths, strict=True):
            line.append_text(part)
            line.append(" " * (width - part.cell_len) + _GAP)
        line.rstrip()
        yield line
