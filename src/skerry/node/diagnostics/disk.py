"""What a data directory tells without its agent: sizes, the database's state and counts, the certificate's dates."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from skerry.kit.clock import iso
from skerry.kit.disk import RealDisk
from skerry.kit.errors import NotFound, Refused
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sealing.format import is_sealed
from skerry.node.diagnostics.secrets import Spec
from skerry.node.store.opening import MIGRATIONS
from skerry.node.trust.der import certificates_in, read_certificate
from skerry.node.trust.files import DIRECTORY, OWN_FILE, TrustFiles
from skerry.wire.codec import decode

MOST_FILES = 5_000
_SUMMED = frozenset({"workloads", "files", "records", "models", "secrets"})
"""Directories whose content is told in sums: its names are other people's."""

_SECONDS = 60.0
_STEPS = 100_000


class FileSize(msgspec.Struct, frozen=True):
    """One file: what it holds, and what it takes."""

    name: str
    bytes: int
    on_disk: int
    mode: str
    changed: str


class Sum(msgspec.Struct):
    """Of all files in one directory and below."""

    files: int = 0
    on_disk: int = 0


class Sizes(msgspec.Struct):
    """Of a data directory; `left_out` files are not told, because there are so many."""

    files: list[FileSize] = []
    directories: dict[str, Sum] = {}
    left_out: int = 0


class DatabaseFacts(msgspec.Struct, frozen=True):
    """`whole` is «ok», or what is wrong. `rows` of a table: None, they could not be counted."""

    whole: list[str]
    schema: int
    sealed: bool
    page_size: int
    pages: int
    free_pages: int
    rows: dict[str, int | None]
    migrations: list[str]


class WorkloadFacts(msgspec.Struct, frozen=True):
    """A workload as the database has it; of its `environment` the names, None: they are sealed."""

    name: str
    phase: str
    since: str
    message: str
    environment: list[str] | None


class SyncLine(msgspec.Struct, frozen=True):
    """A line of the sync log."""

    at: str
    operation: str
    kind: str
    name: str
    status: str
    details: dict[str, object]


class SyncLines(msgspec.Struct, frozen=True):
    """What the agent answers."""

    entries: list[SyncLine]


class Validity(msgspec.Struct, frozen=True):
    """Of one certificate."""

    begins: str
    ends: str


class TrustFacts(msgspec.Struct, frozen=True):
    """The number of the fleet's roots, and the node's certificate with its intermediate."""

    roots: int
    certificates: list[Validity]


def sizes(data_dir: Path) -> Sizes:
    """Every file, and sums of what workloads and people have put there."""
    told = Sizes()
    for directory, _, names in os.walk(data_dir):
        parts = Path(directory).relative_to(data_dir).parts
        for name in names:
            with contextlib.suppress(OSError):  # it has gone meanwhile
                _count(told, parts, name, Path(directory, name).lstat())
    return told


def _count(told: Sizes, parts: tuple[str, ...], name: str, found: os.stat_result) -> None:
    taken = found.st_blocks * 512
    if parts and parts[0] in _SUMMED:
        total = told.directories.setdefault("/".join(map(_shown, parts[:2])), Sum())
        total.files += 1
        total.on_disk += taken
    elif len(told.files) < MOST_FILES:
        path = "/".join(map(_shown, (*parts, name)))
        told.files.append(
            FileSize(path, found.st_size, taken, oct(found.st_mode), iso(found.st_mtime_ns))
        )
    else:
        told.left_out += 1


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


def database_facts(connection: sqlite3.Connection) -> DatabaseFacts:
    """Whether it is whole, what schema it has, and how many rows each table; no row. Raises sqlite3.Error."""

    def pragma(name: str) -> int:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

    tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    return DatabaseFacts(
        whole=[row[0] for row in connection.execute("PRAGMA quick_check(20)")],
        schema=pragma("user_version"),
        sealed=pragma("application_id") != 0,
        page_size=pragma("page_size"),
        pages=pragma("page_count"),
        free_pages=pragma("freelist_count"),
        rows={row[0]: _rows(connection, row[0]) for row in connection.execute(tables).fetchall()},
        migrations=sorted(path.name for path in MIGRATIONS.glob("*.sql")),
    )


def _rows(connection: sqlite3.Connection, table: str) -> int | None:
    quoted = table.replace('"', '""')
    try:
        return int(connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0])  # noqa: S608
    except sqlite3.Error:
        return None


def workloads(connection: sqlite3.Connection, specs: Mapping[str, Spec]) -> list[WorkloadFacts]:
    """Every workload. Raises sqlite3.Error."""
    rows = connection.execute("SELECT name, phase, since, message FROM workload ORDER BY name")
    return [
        WorkloadFacts(
            name, phase, iso(since), message, sorted(specs[name].env) if name in specs else None
        )
        for name, phase, since, message in rows
    ]


def sync_log(connection: sqlite3.Connection, most: int) -> list[SyncLine]:
    """The newest lines of the sync log, the newest last. Raises sqlite3.Error, InvalidInput."""
    query = "SELECT timestamp, operation, entity_type, entity_id, status, details FROM sync_log ORDER BY rowid DESC LIMIT ?"
    rows = connection.execute(query, (most,)).fetchall()
    found = [
        SyncLine(at, operation, kind, name, status, decode((details or "{}").encode(), dict[str, object], "sync_log"))
        for at, operation, kind, name, status, details in rows
    ]  # fmt: skip
    return without_values(found[::-1])


def without_values(lines: Iterable[SyncLine]) -> list[SyncLine]:
    """Lines with the numbers of their details only: texts there may be of rows."""
    return [msgspec.structs.replace(line, details=_numbers(line.details)) for line in lines]


def _numbers(details: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in details.items() if isinstance(value, bool | int | float)}


def trust(data_dir: Path) -> TrustFacts:
    """The certificate's dates, no key. Raises OSError, Refused, InvalidInput, NotFound."""
    path = data_dir / DIRECTORY / OWN_FILE
    if not path.exists():
        raise NotFound("this node has no certificate")
    content = path.read_bytes()
    if is_sealed(content):
        raise Refused("the certificate is sealed beside its key; doctor has its dates")
    chain = [read_certificate(der) for der in certificates_in(content.decode("ascii"))]
    return TrustFacts(
        TrustFiles(data_dir, RealDisk(), NullCipher()).bundle().number,
        [Validity(iso(one.not_before), iso(one.not_after)) for one in chain],
    )


def _shown(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")
