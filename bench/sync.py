"""Sync beside PouchDB and express-pouchdb, in one run: rows both ways, small changes, narrow ways, and 1,000 nodes at once.

Under six minutes on a quiet machine. Values have their own bench (`push`); a million rows are `sync_million`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import installed, peer_pouchdb, sync_changes, sync_fleet, sync_link, sync_rows
from bench.executions import executions, write_documents
from bench.figures import Figure
from bench.peer_pouchdb import Step

ROUNDS = 3

Peers = Mapping[str, Mapping[str, float]]


async def run(place: Path) -> list[Figure]:
    """The peers first, so that ours end with the machine as they left it."""
    peers = await _peers(place / "peers")
    few = await sync_rows.trial(place / "few", sync_rows.FEW)
    many = [
        await sync_rows.trial(place / f"rows{number}", sync_rows.ROWS) for number in range(ROUNDS)
    ]
    return [
        *sync_rows.figures("sync", many, [few, many[0]], peers),
        *await sync_changes.run(place / "changes", peers),
        *await sync_link.run(place / "link"),
        *await sync_fleet.run(place / "fleet"),
    ]


async def _peers(place: Path) -> Peers:
    """What each figure has beside it: by the figure's word and the peer's name. Empty where npm cannot fetch them."""
    directory = installed.pouchdb()
    if directory is None:
        return {}
    place.mkdir()
    documents = write_documents(executions(sync_rows.ROWS), place / "documents")
    found = {
        f"PouchDB {adapter}": await peer_pouchdb.steps(directory, place, adapter, documents)
        for adapter in peer_pouchdb.ADAPTERS
    }

    def of(step: str, figure: Callable[[Step], float]) -> dict[str, float]:
        return {name: figure(steps[step]) for name, steps in found.items()}

    return {
        **{way: of(way, _rate) for way in ("push", "pull")},
        **{f"{way} bytes": of(way, _bytes) for way in ("push", "pull")},
        **{step: of(step, _median_ms) for step in ("nothing", "change pushed", "change pulled")},
        "document": of("document", lambda step: step.size),
        "memory": of("pull", lambda step: step.rss_mb),
    }


def _rate(step: Step) -> float:
    return sync_rows.ROWS / step.seconds[0]


def _bytes(step: Step) -> float:
    return step.size / sync_rows.ROWS


def _median_ms(step: Step) -> float:
    return statistics.median(step.seconds) * 1000
