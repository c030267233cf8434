"""The rows of the sync benches: runs of a workflow, 267 bytes each as a document of PouchDB, its id included.

80 of the bytes are random, so that nothing travels in less than 60; the rest repeats as such rows do.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from skerry import sdk

_STATUSES = ("done", "failed", "running")
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclasses.dataclass
class Metrics:
    """Part of a row."""

    cpu: int
    mem: int


@sdk.model(edge_enabled=True)
@dataclasses.dataclass
class Execution:
    """One run of a workflow."""

    workflow_id: str
    status: str
    output: str
    metrics: Metrics
    started_at: str
    completed_at: str
    id: str = ""


def executions(count: int, seed: int = 1) -> list[Execution]:
    """So many rows with ids in their order."""
    chance = random.Random(seed)
    return [_execution(number, chance) for number in range(count)]


def _execution(number: int, chance: random.Random) -> Execution:
    return Execution(
        workflow_id=f"wf-{number % 40}",
        status=_STATUSES[number % 3],
        output=base64.b64encode(chance.randbytes(60)).decode(),
        metrics=Metrics(number % 100, number * 7 % 1000),
        started_at=_moment(number * 7),
        completed_at=_moment(number * 7 + 5),
        id=f"exec:{number:08d}",
    )


def _moment(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def write_documents(rows: Iterable[Execution], file: Path) -> Path:
    """The same rows for PouchDB, one document a line."""
    with file.open("w") as out:
        for row in rows:
            fields = dataclasses.asdict(row)
            document = {"_id": fields.pop("id"), **fields}
            out.write(json.dumps(document, separators=(",", ":")) + "\n")
    return file
