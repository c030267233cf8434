"""What a worker group's directory holds: the hash of every file that counts, and whether there is something to run.

Files that count fit the group's pattern or are a manifest. Names that begin with «.» never do: editors' locks, swap
files and half-written copies. Only the directory itself is looked at, not those below it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

import msgspec

from skerry.kit.units import format_size
from skerry.wire.workload import WorkerSpec

MANIFESTS = ("cyberwave.yml", "cyberwave.yaml", "skerry.yml", "skerry.yaml")
UNREADABLE = "unreadable"

MAX_SCANNED = 256 * 1024
"""Bytes of a file in which models are looked for: parsing more would hold up the agent."""

MAX_DOUBTS = 20
_SHOWN = 80
"""Characters of an id that cannot be one."""


class Look(msgspec.Struct, frozen=True):
    """What is in the directory. `problem` says why nothing can be started from it; empty: it can."""

    files: Mapping[str, str]
    scripts: tuple[str, ...] = ()
    problem: str = ""


class Found(msgspec.Struct, frozen=True):
    """What scripts load, and what about them could not be understood. `refused`: ids that cannot be a model's, and why."""

    models: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    refused: Mapping[str, str] = {}


Scan = Callable[[Path, Iterable[str]], Found]
"""Finds the models that these files of a directory load."""


def models_named(directory: Path, names: Iterable[str]) -> Found:
    """What these files name. Takes as long as their disk does, so not in the event loop's thread."""
    from skerry.core.model_scan import scan_files  # noqa: PLC0415 - only nodes with a worker group pay for it

    doubts: list[str] = []
    scan = scan_files(_texts(directory, names, doubts))
    doubts += [f"{each.file}:{each.line}: {each.cause}" for each in scan.unknown]
    refused = {each.model[:_SHOWN]: f"{each.file}:{each.line}: {each.cause}" for each in scan.unknown if each.model}  # fmt: skip
    few = dict(islice(refused.items(), MAX_DOUBTS))
    return Found(tuple(scan.models), tuple(doubts[:MAX_DOUBTS]), few)


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
        _shown(name): hashed
        for name in names
        if _counts(name, worker.pattern) and (hashed := _hash(directory / name))
    }
    scripts = tuple(name for name in hashes if name not in MANIFESTS and not name.startswith("_"))
    problem = "" if scripts else f"waits for a script in {directory} that fits «{worker.pattern}»"
    return Look(hashes, scripts, problem)


def _texts(directory: Path, names: Iterable[str], doubts: list[str]) -> Iterator[tuple[str, str]]:
    """Names and texts; a file that cannot be had becomes a doubt."""
    for name in names:
        try:
            with (directory / name).open("rb") as file:
                data = file.read(MAX_SCANNED + 1)
        except OSError as error:
            doubts.append(f"{name}: cannot be read: {error.strerror}")
            continue
        if len(data) > MAX_SCANNED:
            size = format_size(MAX_SCANNED)
            doubts.append(f"{name}: larger than {size}, so models are not looked for")
            continue
        yield name, data.decode("utf-8-sig", errors="replace")


def _counts(name: str, pattern: str) -> bool:
    return name in MANIFESTS or (fnmatchcase(name, pattern) and not name.startswith("."))


def _shown(name: str) -> str:
    """As it can be stored and told: a file may be called anything. Models are not found in what is called otherwise."""
    return name.encode(errors="backslashreplace").decode()


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
