"""Debian's PostgreSQL for tests: one server of our own a session, one database a test, nothing left behind.

The server of the tests lies in memory: a database is 300 files, and on a disk to make and drop them is dearer than most tests.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.ports import free_port

from skerry.hub.store.engine import parse_url, writer_engine
from skerry.hub.store.schema import migrate

USER = "skerry"
_START_WITHIN = 30.0
_CHEAP = ("fsync=off", "full_page_writes=off", "max_wal_size=256MB")
"""What dies in tests is a process, never the power: what was written is there after a crash all the same."""

_PREPARED = "prepared"
_MEMORY = 1024**3
"""Bytes free from which a server may lie in memory."""


def installed() -> Path | None:
    """The directory of the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


class Postgres:
    """A running server on a loopback port; `start` starts it again there."""

    def __init__(self, port: int, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._port = port
        self._start = start
        self._process = start()
        self._names = itertools.count(1)
        self._is_prepared = False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is the «fast» shutdown, in which open connections are cut; SIGQUIT leaves all to recovery."""
        self._process.send_signal(how)
        self._process.wait(timeout=30)

    def crash(self) -> None:
        """As after a power cut of the server's machine, but for what its kernel still has to write."""
        self.stop(signal.SIGQUIT)
        self._process = self._start()

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The address of a new, empty database that is dropped afterwards."""
        name = f"test_{next(self._names)}"
        self._create(name)
        with self._used(name) as url:
            yield url

    @contextlib.contextmanager
    def prepared_database(self) -> Iterator[str]:
        """As `database`, with a hub's tables in it, which no hub has used."""
        if not self._is_prepared:
            self._create(_PREPARED)
            engine = writer_engine(parse_url(self._url(_PREPARED)))
            with engine.begin() as connection:
                migrate(connection)
            engine.dispose()
            self._is_prepared = True
        name = f"test_{next(self._names)}"
        self._create(f"{name} TEMPLATE {_PREPARED}")
        with self._used(name) as url:
            yield url

    def _create(self, what: str) -> None:
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {what}")

    @contextlib.contextmanager
    def _used(self, name: str) -> Iterator[str]:
        try:
            yield self._url(name)
        finally:
            with self._connect() as connection:
                for each in (name, *(f"{name}_{end}" for end in ("before", "older", "restored"))):
                    connection.execute(f"DROP DATABASE IF EXISTS {each} WITH (FORCE)")

    def _url(self, name: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{name}"

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self._port, user=USER, dbname="postgres", autocommit=True
        )


@contextlib.contextmanager
def server(
    programs: Path,
    *settings: str,
    below: Path = Path("/tmp"),  # noqa: S108 - mkdtemp makes one of our own
) -> Iterator[Postgres]:
    """Starts a server in a temporary directory. PostgreSQL refuses root, so root runs it as user postgres."""
    directory = Path(tempfile.mkdtemp(prefix="sk-pg-", dir=below))
    owner = "postgres" if os.geteuid() == 0 else None
    if owner is not None:
        account = pwd.getpwnam(owner)
        os.chown(directory, account.pw_uid, account.pw_gid)
    as_owner = {"user": owner, "group": owner, "extra_groups": []} if owner else {}
    try:
        data = directory / "data"
        subprocess.run(
            [
                *(programs / "initdb", "-D", data, "-U", USER),
                *(
                    "-A",
                    "trust",
                    "-E",
                    "UTF8",
                    "--locale=C.UTF-8",
                    "--no-instructions",
                    "--no-sync",
                ),
            ],
            check=True,
            capture_output=True,
            cwd=directory,
            **as_owner,
        )
        port = free_port()

        def start() -> subprocess.Popen[bytes]:
            with (directory / "log").open("ab") as log:
                process = subprocess.Popen(
                    [
                        *(programs / "postgres", "-D", data, "-p", str(port)),
                        *("-h", "127.0.0.1", "-k", directory, "-c", "max_connections=50"),
                        *(word for setting in settings for word in ("-c", setting)),
                    ],
                    stdout=log,
                    stderr=log,
                    cwd=directory,
                    start_new_session=True,  # Ctrl-C is for pytest, which then stops the server in order
                    **as_owner,
                )
            _wait(process, port, directory / "log")
            return process

        running = Postgres(port, start)
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = installed()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with server(programs, *_CHEAP, below=_in_memory()) as running:
        yield running


def _in_memory() -> Path:
    memory = Path("/dev/shm")  # noqa: S108
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > _MEMORY
    return memory if roomy else Path("/tmp")  # noqa: S108


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user=USER, dbname="postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise AssertionError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
