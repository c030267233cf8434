"""What a worker group's directory holds: the hash of every file that counts, and whether there is something to run.

Files that count fit the group's pattern or are a manifest. Names that begin with «.» never do: editors' locks, swap
files and half-written copies. Only the directory itself is looked at, not those below it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from skerry.wire.workload import WorkerSpec

MANIFESTS = ("cyberwave.yml", "skerry.yml")
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Look:
    """What is in the directory. `problem` says why nothing can be started from it; empty: it can."""

    files: Mapping[str, str]
    scripts: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Found:
    """What scripts load, and what about them could not be understood."""

    models: tuple[str, ...] = ()
    doubts: tuple[str, ...] = field(default=())


Scan = Callable[[Path], Found]
"""Finds the models that the scripts of a directory load."""


def no_models(_directory: Path) -> Found:
    """Finds none."""
    return Found()


def look_at(worker: WorkerSpec) -> Look:
    """Reads the directory. Takes as long as its disk does, so not in the event loop's thread."""
    directory = Path(worker.scripts)
    try:
        names = sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return Look({}, problem=f"waits for directory {directory}: it is not there")
    except OSError as error:
        return Look({}, problem=f"cannot read directory {directory}: {error.strerror}")
    hashes = {
        name: hashed
        for name in names
        if _counts(name, worker.pattern) and (hashed := _hash(directory / name))
    }
    scripts = tuple(name for name in hashes if name not in MANIFESTS and not name.startswith("_"))
    problem = "" if scripts else f"waits for a script in {directory} that fits «{worker.pattern}»"
    return Look(hashes, scripts, problem)


def _counts(name: str, pattern: str) -> bool:
    return name in MANIFESTS or (fnmatchcase(name, pattern) and not name.startswith("."))


def _hash(path: Path) -> str:
    """Empty for what is no file, or is gone by now."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
    except OSError:
        return UNREADABLE
