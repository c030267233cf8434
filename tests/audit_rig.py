"""A node's audit log on a real store with the real admin socket before it; who asks may be another user of the machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from aiohttp import web
from tests.sync_rig import MIGRATIONS

from skerry.core.audit_chain import GENESIS, entry_hash
from skerry.core.local_access import LocalAccess
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import NotFound
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import SqliteWriter
from skerry.node.api.admin import admin_app
from skerry.node.api.guard import AdminGuard, of_strangers
from skerry.node.api.sites import Apps, LocalApi, admin_socket
from skerry.node.api.workload import workload_app
from skerry.node.audit.desk import AuditDesk
from skerry.node.store.audit_log import page_of
from skerry.node.store.state import NodeStore
from skerry.wire.audit import AuditEntry, AuditHead, AuditPage

NOBODY = 65534

_ASK = """
import os, socket, sys
if int(sys.argv[4]) != os.geteuid():
    os.setgroups([])
    os.setgid(int(sys.argv[4]))
    os.setuid(int(sys.argv[4]))
with socket.socket(socket.AF_UNIX) as door:
    door.connect(sys.argv[1])
    head = f"{sys.argv[2]} {sys.argv[3]} HTTP/1.1\\r\\nHost: node\\r\\nConnection: close\\r\\nContent-Length: 0\\r\\n\\r\\n"
    door.sendall(head.encode())
    print(door.makefile("rb").readline().split()[1].decode())
"""


class NothingHere:
    """Whatever is asked for is not there: whoever is let in gets 404."""

    def __getattr__(self, name: str) -> NothingHere:
        return NothingHere()

    def __call__(self, *_: object, **__: object) -> NothingHere:
        raise NotFound("there is nothing here")


class AuditRig:
    """Store, desk and sockets of a node in `directory`."""

    def __init__(
        self,
        directory: Path,
        access: LocalAccess | None = None,
        *,
        clock: Clock | None = None,
        disk: Disk | None = None,
        others: Path | None = None,
    ) -> None:
        self.directory = directory
        self.clock = clock or SystemClock()
        self.disk = disk or RealDisk()
        self.access = access or LocalAccess(os.geteuid())
        self.writer = SqliteWriter(directory / "node.db", MIGRATIONS, self.disk)
        self.store = NodeStore(directory / "node.db", self.writer, self.clock, "n", NullCipher())
        self.desk = AuditDesk(self.store.audit, directory, self.disk, self.clock, random.Random(1))
        self.guard = AdminGuard(self.desk, self.access)
        self.api = LocalApi(directory / "run", others=others)

    async def start(self) -> None:
        self.writer.start()
        await self.store.open()
        admin = admin_app(NothingHere(), self.guard)  # type: ignore[arg-type]
        workload = workload_app(NothingHere(), [of_strangers(self.desk)])  # type: ignore[arg-type]
        await self.api.start(Apps(admin, workload, web.Application()), 0)
        await self.api.serve_workloads({"cam"}, set())
        for path in (self.directory, self.directory / "run"):
            path.chmod(
                0o711
            )  # another user gets as far as the socket, whose guard is what is tested
        admin_socket(self.directory / "run").chmod(0o666)

    async def stop(self) -> None:
        await self.api.stop()
        self.store.close()
        self.writer.stop()

    async def ask(
        self, method: str, path: str, *, uid: int | None = None, socket: Path | None = None
    ) -> int:
        """The status of a request by a process of that user; by default of whoever runs the tests."""
        door = socket or admin_socket(self.directory / "run")
        user = str(os.geteuid() if uid is None or os.geteuid() != 0 else uid)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-c", _ASK, str(door), method, path, user, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        return int(out)

    def page(self) -> AuditPage:
        return log_in(self.directory / "node.db")

    def entries(self) -> list[AuditEntry]:
        return [row.entry for row in self.page().entries]


@contextlib.asynccontextmanager
async def audit_rig(directory: Path, access: LocalAccess | None = None) -> AsyncIterator[AuditRig]:
    rig = AuditRig(directory, access)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.stop()


def log_in(database: Path) -> AuditPage:
    """The whole log of a node's database, beside its agent."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.row_factory = sqlite3.Row
        return page_of(db, "", 0, 100_000)


def tampered(database: Path, *statements: str) -> None:
    """What whoever owns the machine can do: the triggers go first."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        for name in ("update", "delete", "replace"):
            db.execute(f"DROP TRIGGER IF EXISTS audit_no_{name}")
        for statement in statements:
            db.execute(statement)
        db.commit()


def rewritten(database: Path, first: int) -> None:
    """All entries from `first` on are somebody else's, and every hash is right."""
    tampered(database)
    names = AuditEntry.__struct_fields__
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.row_factory = sqlite3.Row
        head = GENESIS
        for row in db.execute("SELECT * FROM audit ORDER BY seq").fetchall():
            entry = AuditEntry(**{name: row[name] for name in names} | {"prev": head.hash})
            if entry.seq >= first:
                entry = msgspec.structs.replace(entry, actor="mallory")
            head = AuditHead(entry.seq, entry_hash(entry))
            change = "UPDATE audit SET actor = ?, prev = ?, hash = ? WHERE seq = ?"
            db.execute(change, (entry.actor, entry.prev, head.hash, entry.seq))
        db.commit()
