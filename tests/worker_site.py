"""Worker groups of a whole installation: a directory of scripts, and what they have said."""

from __future__ import annotations

from pathlib import Path

from tests.installation import Node

from skerry.cli.http import node_api
from skerry.wire.local import WorkerStatus
from skerry.wire.workload import Stop, WorkerSpec, WorkloadSpec

SCRIPT = "import signal\nprint('{}', flush=True)\nwhile True: signal.pause()\n"


def say(directory: Path, word: str, name: str = "a.py") -> None:
    """A script that says `word`, saved as careful editors do."""
    draft = directory / f".{name}.tmp"
    draft.write_text(SCRIPT.format(word))
    draft.rename(directory / name)


def group(directory: Path, delay: float = 1.0, **fields: object) -> WorkloadSpec:
    worker = WorkerSpec(str(directory), reload_delay=delay)
    return WorkloadSpec(name="cam", worker=worker, stop=Stop(grace=1.0), **fields)  # type: ignore[arg-type]


async def workers(node: Node) -> WorkerStatus:
    async with node_api(node.directory) as api:
        [found] = await api.get("/v1/workers", list[WorkerStatus])
    return found


def said(node: Node) -> list[str]:
    log = node.directory / "logs/cam/current.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split(" F ", 1)[1] for line in lines]


async def is_settled(node: Node) -> bool:
    found = await workers(node)
    return found.change is None and found.status.phase == "running"
