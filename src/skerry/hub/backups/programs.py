"""PostgreSQL's own programs, pg_dump and pg_restore, as children of ours.

No password is among their arguments or in their environment: where the address has one, they read it from a file that
only we can read. Without one, libpq finds it as for psql (PGPASSFILE).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import URL

from skerry.kit.archive.format import BLOCK
from skerry.kit.errors import Corrupt, Refused, Transient
from skerry.kit.one_line import one_line

_WORDS = 400


def dump(url: URL, exported: str, scratch: Path) -> Iterator[bytes]:
    """The database as pg_dump's custom format, as it is in the exported snapshot. Raises Transient, Refused."""
    words = [
        _program("pg_dump"), "--format=custom", "--compress=0", "--no-password",
        f"--snapshot={exported}", f"--dbname={_address(url, scratch)}",
    ]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None  # noqa: S101 - a pipe was asked for
        whole = False
        try:
            while piece := child.stdout.read(BLOCK):
                yield piece
            whole = True
        finally:
            if not whole:  # nobody wants the rest
                child.kill()
        assert child.stderr is not None  # noqa: S101 - see above
        complaint = child.stderr.read().decode(errors="replace")
    if child.returncode:
        raise Transient(f"cannot copy the database: {_short(complaint)}")


def check(file: Path) -> None:
    """Raises Corrupt when pg_restore cannot read what is in the file."""
    try:
        _run([_program("pg_restore"), "--list", str(file)])
    except Transient as error:
        raise Corrupt(str(error)) from error


def restore(file: Path, url: URL, scratch: Path) -> None:
    """Reads a copy into an empty database, wholly or not at all. Raises Transient, Refused."""
    words = [
        _program("pg_restore"), "--exit-on-error", "--single-transaction", "--no-owner", "--no-password",
        f"--dbname={_address(url, scratch)}", str(file),
    ]  # fmt: skip
    _run(words)


def run(words: Sequence[str]) -> None:
    """A command of the user's own, with our output. Raises Refused when it cannot be started or fails."""
    try:
        code = subprocess.run(words, check=False, stdin=subprocess.DEVNULL).returncode
    except OSError as error:
        raise Refused(f"cannot run «{words[0]}»: {error.strerror}") from error
    if code:
        raise Refused(
            f"cannot count the backup: «{words[0]}» ended with {code}. Nodes keep what they have."
        )


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        complaint = _short(done.stderr.decode(errors="replace"))
        raise Transient(f"cannot put the database back: {complaint}")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Refused(
            f"cannot find {name}: install PostgreSQL's client programs (Debian: postgresql-client), not older than the "
            "server, or use your own tools: skerry hub backup --by"
        )
    return found


def conninfo(url: URL, **more: str | None) -> str:
    """The address in libpq's words, without its password."""
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - 10 MB that a hub with SQLite does not need

    given: dict[str, str | None] = {
        name: value for name, value in url.query.items() if isinstance(value, str)
    }
    parts = {"host": url.host, "port": url.port, "user": url.username, "dbname": url.database}
    given |= {name: str(value) for name, value in parts.items() if value is not None}
    return make_conninfo("", **given, **more)


def _address(url: URL, scratch: Path) -> str:
    if url.password is None:
        return conninfo(url)
    secret = str(url.password).replace("\\", "\\\\").replace(":", "\\:")
    file = scratch / "pgpass"
    file.touch(mode=0o600)
    file.write_text(f"*:*:*:*:{secret}\n")
    return conninfo(url, passfile=str(file))


def _short(complaint: str) -> str:
    return one_line(complaint.strip()[-_WORDS:]) or "it said nothing"
