"""The cost table's last line: a million rows pushed, and pulled by a second node. Run by name only; five minutes."""

from __future__ import annotations

from pathlib import Path

from bench import sync_rows
from bench.figures import Figure

ROWS = 1_000_000


async def run(place: Path) -> list[Figure]:
    """Once."""
    return [sync_rows.cost("sync_million", await sync_rows.trial(place / "rows", ROWS))]
