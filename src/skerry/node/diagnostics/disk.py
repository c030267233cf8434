"""What a data directory tells without its agent: sizes, the database's state and counts, the certificate's dates."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from skerry.kit.clock import iso
from skerry.kit.disk import RealDisk
from skerry.kit.errors import NotFound, Refused
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sealing.format import is_sealed
from skerry.node.store.opening import MIGRATIONS
from skerry.node.trust.der import certificates_in, read_certificate
from skerry.node.trust.files import DIRECTORY, OWN_FILE, TrustFiles

MOST_FILES = 5_000
_SUMMED = frozenset({"workloads", "files", "records", "models", "secrets"})
"""Directories whose content is told in sums: its names are other people's."""

_SECONDS = 60.0
_STEPS = 100_000


def sizes(data_dir: Path) -> dict[str, Any]:
    """Bytes of every file, and sums of what workloads and people have put there."""
    files: list[dict[str, Any]] = []
    sums: dict[str, list[int]] = {}
    left_out = 0
    for directory, _, names in os.walk(data_dir):
        parts = Path(directory).relative_to(data_dir).parts
        for name in names:
            try:
                found = Path(directory, name).lstat()
            except OSError:
                continue
            if parts and parts[0] in _SUMMED:
                entry = sums.setdefault("/".join(map(_shown, parts[:2])), [0, 0])
                entry[0] += 1
                entry[1] += found.st_blocks * 512
            elif len(files) < MOST_FILES:
                path = "/".join(map(_shown, (*parts, name)))
                files.append({"name": path, "bytes": found.st_size, "on_disk": found.st_blocks * 512, "mode": oct(found.st_mode), "changed": iso(found.st_mtime_ns)})  # fmt: skip
            else:
                left_out += 1
    told = {place: {"files": count, "on_disk": size} for place, (count, size) in sorted(sums.items())}  # fmt: skip
    return {"files": files, "directories": told, "left_out": left_out}


@contextlib.contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """The database for reading, whose questions end after a minute. Raises NotFound, sqlite3.Error."""
    if not database.exists():
        raise NotFound(f"there is no {database}")
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=2)
    deadline = time.monotonic() + _SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        yield connection
    finally:
        connection.close()


def database_facts(connection: sqlite3.Connection) -> dict[str, Any]:
    """Whether it is whole, what schema it has, and how many rows each table; no row. Raises sqlite3.Error."""

    def pragma(name: str) -> Any:  # noqa: ANN401 - a number or a word
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]  # fmt: skip
    names = ("user_version", "application_id", "journal_mode", "page_size", "page_count", "freelist_count")  # fmt: skip
    return {
        "whole": [row[0] for row in connection.execute("PRAGMA quick_check(20)")],
        **{name: pragma(name) for name in names},
        "rows": {name: _rows(connection, name) for name in tables},
        "migrations": sorted(path.name for path in MIGRATIONS.glob("*.sql")),
    }


def _rows(connection: sqlite3.Connection, table: str) -> int | None:
    quoted = table.replace('"', '""')
    try:
        return int(connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0])  # noqa: S608
    except sqlite3.Error:
        return None


def workloads(connection: sqlite3.Connection, specs: dict[str, dict[str, Any]]) -> list[Any]:
    """Each workload as the database has it; of its environment the names. Raises sqlite3.Error."""
    rows = connection.execute("SELECT name, phase, since, message FROM workload ORDER BY name")
    return [
        {
            "name": name,
            "phase": phase,
            "since": iso(since),
            "message": message,
            "environment": sorted(specs[name].get("env") or {}) if name in specs else None,
        }
        for name, phase, since, message in rows
    ]


def sync_log(connection: sqlite3.Connection, most: int) -> list[dict[str, Any]]:
    """The newest lines of the sync log, the newest last. Raises sqlite3.Error."""
    names = ("operation", "entity_type", "entity_id", "status", "timestamp", "details")
    query = "SELECT operation, entity_type, entity_id, status, timestamp, details FROM sync_log ORDER BY rowid DESC LIMIT ?"
    entries = [dict(zip(names, row, strict=True)) for row in connection.execute(query, (most,))]
    for entry in entries:
        entry["details"] = msgspec.json.decode(entry["details"] or "{}")
    return entries[::-1]


def without_values(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of the sync log with the numbers of their details only: texts there may be of rows, and the names of those."""
    return [{**entry, "details": _numbers(entry.get("details"))} for entry in entries]


def _numbers(details: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
    if not isinstance(details, dict):
        return None
    return {key: value for key, value in details.items() if isinstance(value, bool | int | float)}


def trust(data_dir: Path) -> dict[str, Any]:
    """The certificate's dates and the number of the fleet's roots. Raises OSError, Refused, InvalidInput, NotFound."""
    files = TrustFiles(data_dir, RealDisk(), NullCipher())
    told: dict[str, Any] = {"roots": files.bundle().number}
    path = data_dir / DIRECTORY / OWN_FILE
    if not path.exists():
        raise NotFound("this node has no certificate")
    content = path.read_bytes()
    if is_sealed(content):
        raise Refused("the certificate is sealed beside its key; doctor has its dates")
    chain = [read_certificate(der) for der in certificates_in(content.decode("ascii"))]
    told["certificates"] = [{"from": iso(one.not_before), "until": iso(one.not_after)} for one in chain]  # fmt: skip
    return told


def _shown(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")
