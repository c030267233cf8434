"""Workloads and their instances as they are: typed rows of the tables `workload` and `instance`.

One transition is one transaction over both tables, so that after a crash at any instruction the store tells
one consistent story. `node.workloads` decides what a transition is; `state.py` holds what is wanted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec
from msgspec.structs import replace

from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import SqliteWriter, read_queries
from skerry.node.ports import ProcessIdentity
from skerry.node.store.bodies import ASSIGNMENT, BESIDE
from skerry.node.store.started import Started
from skerry.node.store.workers import PastRestart, forget_worker, note_restart
from skerry.wire.codec import decode, encode
from skerry.wire.workload import Assignment, Exit, Generation, Phase

SQL = read_queries(Path(__file__).with_name("instances.sql"))

KEPT_INSTANCES = 20
"""How many ended instances of one workload stay in the store, newest first."""


class Lock(msgspec.Struct, frozen=True):
    """A workload says «not now» to updates. `since` and `until` are monotonic ns, `until_at` is wall ns."""

    since: int
    until: int
    until_at: int
    reason: str


class Instance(msgspec.Struct, frozen=True):
    """One process that is asked for, runs or is being ended. Every instance in here is live: not known to have ended."""

    id: str
    generation: Generation
    boot_id: str
    started_at: int
    """Wall ns at which it was asked for."""
    started: int
    """Monotonic ns at which it was asked for."""
    identity: ProcessIdentity | None = None
    """None until the runtime has answered."""
    kill_at: int | None = None
    """Monotonic ns at which SIGKILL is due; None: it was not asked to end."""
    kills: int = 0
    isolation: str = ""
    """What keeps it from the rest of the device, as its runtime told; empty until then."""
    lock: Lock | None = None
    cause: str = ""
    """Why the node itself ended it: the reason of its exit. Empty: it was not over a limit."""
    slot: int = 0
    """0 or 1: tells the two apart that a workload has at most."""
    restarts: int = 0
    """How often its engine has started it again, as the engine counts."""


class History(msgspec.Struct, frozen=True):
    """What the next restart depends on. Forgotten after a long life, a changed spec, a restart on demand, a reboot."""

    short_lives: int = 0
    """Lives in a row that were shorter than `reset_after`; the restart's delay grows with it."""
    failures: tuple[int, ...] = ()
    """Monotonic ns of failures; those within `window` count for the breaker."""
    half_open: bool = False
    """The breaker has tripped and no try has lived for `reset_after` since."""


class ActualWorkload(msgspec.Struct, frozen=True):
    """A workload as it is on this node."""

    assignment: Assignment
    """What the last instance was started from, or the next one will be."""
    boot_id: str
    """The boot in which `history` and `due` have a meaning."""
    phase: Phase
    since: int
    """Wall ns at which the phase began."""
    message: str = ""
    starts: int = 0
    """Since it was last started on purpose or by a reboot; the first one is no restart."""
    history: History = History()
    due: int | None = None
    """Monotonic ns before which nothing is started."""
    ready: bool = False
    probe: str = ""
    """Why the readiness probe failed last."""
    exit: Exit | None = None
    """How the last instance ended."""
    instance: Instance | None = None
    beside: ActualWorkload | None = None
    """Beside the instance that serves: a successor, tried or to be tried again, or a predecessor that is being ended.
    It has none beside itself."""

    @property
    def slot(self) -> int:
        """That of its instance; without one, the one that is free for it."""
        if self.instance is not None:
            return self.instance.slot
        other = None if self.beside is None else self.beside.instance
        return 0 if other is None else 1 - other.slot

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All that live, the one that serves first."""
        rows = (self,) if self.beside is None else (self, self.beside)
        return tuple(row.instance for row in rows if row.instance is not None)

    @property
    def name(self) -> str:
        """The workload's name."""
        return self.assignment.workload


class Ended(msgspec.Struct, frozen=True):
    """An instance that has ended."""

    instance: str
    exit: Exit


class Transition(msgspec.Struct, frozen=True):
    """One workload's new row, together with the end of an instance that it had before."""

    actual: ActualWorkload
    ended: Ended | None = None
    restart: PastRestart | None = None
    """What the history of a worker group gets."""


class InstanceReader:
    """Reads on any connection, also one of another process."""

    def __init__(self, connection: sqlite3.Connection, cipher: Cipher) -> None:
        self._connection = connection
        self._cipher = cipher

    def load(self) -> dict[str, ActualWorkload]:
        """Every workload that this node has, by name."""
        rows = groupby(self._connection.execute(SQL["load"]), key=itemgetter("name"))
        return {name: self._from_rows(list(same)) for name, same in rows}

    def read(self, name: str) -> ActualWorkload | None:
        """One workload, or None."""
        rows = self._connection.execute(SQL["read"], (name,)).fetchall()
        return self._from_rows(rows) if rows else None

    def _beside(self, row: sqlite3.Row, instance: Instance | None) -> ActualWorkload | None:
        if row["beside"] is None:
            return None
        what = f"successor of workload «{row['name']}»"
        body = self._cipher.open(row["beside"], BESIDE.place(row["name"]))
        beside = decode(body, ActualWorkload, what)
        return replace(beside, instance=instance)

    def _from_rows(self, rows: Sequence[sqlite3.Row]) -> ActualWorkload:
        """One row for each live instance; a workload without one has a row, too."""
        row = rows[0]
        what = f"assignment of workload «{row['name']}»"
        body = self._cipher.open(row["assignment"], ASSIGNMENT.place(row["name"]))
        instances = {each["instance_slot"]: _instance(each) for each in rows if each["instance"]}
        return ActualWorkload(
            assignment=decode(body, Assignment, what),
            boot_id=row["boot_id"],
            phase=msgspec.convert(row["phase"], Phase),
            since=row["since"],
            message=row["message"],
            starts=row["starts"],
            history=History(
                short_lives=row["short_lives"],
                failures=tuple(msgspec.json.decode(row["failures"], type=list[int])),
                half_open=bool(row["half_open"]),
            ),
            due=row["due"],
            ready=bool(row["ready"]),
            probe=row["probe"],
            exit=_exit(row),
            instance=instances.get(row["slot"]),
            beside=self._beside(row, instances.get(1 - row["slot"])),
        )


class InstanceStore:
    """All writes go through the node's writer; `reader` is a connection for reads in the event loop's thread.

    `started` keeps beside the database what the workloads are.
    """

    def __init__(
        self,
        writer: SqliteWriter,
        reader: sqlite3.Connection,
        cipher: Cipher,
        started: Started | None = None,
    ) -> None:
        self._writer = writer
        self._rows = InstanceReader(reader, cipher)
        self._cipher = cipher
        self._started = started

    def load(self) -> dict[str, ActualWorkload]:
        """Every workload that this node has, by name."""
        return self._rows.load()

    def started(self) -> dict[str, Assignment]:
        """What the workloads were made from, as it stands beside the database."""
        return {} if self._started is None else self._started.all()

    def living(self) -> set[str]:
        """The workloads that have an instance, started or about to be."""
        return {name for name, one in self.load().items() if one.instances}

    def read(self, name: str) -> ActualWorkload | None:
        """One workload, or None."""
        return self._rows.read(name)

    async def save(
        self, transitions: Sequence[Transition], *, label: str, durable: bool = True
    ) -> None:
        """Writes transitions in one transaction.

        `durable` waits for the disk; without it the rows survive the agent's death but perhaps not a power
        cut. Raises Transient.
        """

        def work(db: sqlite3.Connection) -> None:
            for transition in transitions:
                self._apply(db, transition)

        await self._writer.run(work, label=label, durable=durable)

    async def remove(self, name: str, *, label: str) -> None:
        """Forgets a workload with all its instances."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(SQL["drop_instances"], (name,))
            db.execute(SQL["drop_workload"], (name,))
            forget_worker(db, name)
            if self._started is not None:
                self._started.forget(name)

        await self._writer.run(work, label=label)

    def _apply(self, db: sqlite3.Connection, transition: Transition) -> None:
        actual, ended = transition.actual, transition.ended
        if ended is not None:
            exit_ = ended.exit
            how = (exit_.at, exit_.code, exit_.signal, exit_.reason, ended.instance)
            db.execute(SQL["end_instance"], how)
            db.execute(SQL["drop_old_instances"], (actual.name, KEPT_INSTANCES))
        for instance in actual.instances:
            db.execute(SQL["put_instance"], _instance_row(actual.name, instance))
        if transition.restart is not None:
            note_restart(db, self._cipher, actual.name, transition.restart)
        bodies = {
            "assignment": self._cipher.seal(
                encode(actual.assignment), ASSIGNMENT.place(actual.name)
            ),
            "beside": self._sealed(actual),
        }
        db.execute(SQL["put_workload"], _workload_row(actual) | bodies)
        if self._started is not None:
            self._started.note(actual.assignment)

    def _sealed(self, actual: ActualWorkload) -> bytes | None:
        """The one beside, without its instance, which has a row of its own."""
        if actual.beside is None:
            return None
        plain = encode(replace(actual.beside, instance=None))
        return self._cipher.seal(plain, BESIDE.place(actual.name))


def _workload_row(actual: ActualWorkload) -> dict[str, object]:
    exit_ = actual.exit
    return {
        "name": actual.name,
        "boot_id": actual.boot_id,
        "phase": actual.phase,
        "since": actual.since,
        "message": actual.message,
        "starts": actual.starts,
        "short_lives": actual.history.short_lives,
        "failures": encode(actual.history.failures).decode(),
        "half_open": actual.history.half_open,
        "due": actual.due,
        "ready": actual.ready,
        "probe": actual.probe,
        "exit_code": None if exit_ is None else exit_.code,
        "exit_signal": None if exit_ is None else exit_.signal,
        "exit_at": None if exit_ is None else exit_.at,
        "exit_reason": "" if exit_ is None else exit_.reason,
        "slot": actual.slot,
    }


def _instance_row(workload: str, instance: Instance) -> dict[str, object]:
    identity, lock = instance.identity, instance.lock
    return {
        "id": instance.id,
        "workload": workload,
        "epoch": instance.generation.epoch,
        "generation": instance.generation.n,
        "boot_id": instance.boot_id,
        "pid": None if identity is None else identity.pid,
        "start_time": None if identity is None else identity.start_time,
        "started_at": instance.started_at,
        "started": instance.started,
        "kill_at": instance.kill_at,
        "kills": instance.kills,
        "isolation": instance.isolation,
        "lock_since": None if lock is None else lock.since,
        "lock_until": None if lock is None else lock.until,
        "lock_until_at": None if lock is None else lock.until_at,
        "lock_reason": None if lock is None else lock.reason,
        "cause": instance.cause,
        "slot": instance.slot,
        "restarts": instance.restarts,
    }


def _exit(row: sqlite3.Row) -> Exit | None:
    if row["exit_at"] is None:
        return None
    return Exit(row["exit_code"], row["exit_signal"], row["exit_at"], row["exit_reason"])


def _instance(row: sqlite3.Row) -> Instance:
    boot_id, pid = row["instance_boot_id"], row["pid"]
    return Instance(
        id=row["instance"],
        generation=Generation(row["epoch"], row["generation"]),
        boot_id=boot_id,
        started_at=row["started_at"],
        started=row["started"],
        identity=None if pid is None else ProcessIdentity(boot_id, pid, row["start_time"]),
        kill_at=row["kill_at"],
        kills=row["kills"],
        isolation=row["isolation"],
        lock=None
        if row["lock_since"] is None
        else Lock(row["lock_since"], row["lock_until"], row["lock_until_at"], row["lock_reason"]),
        cause=row["cause"],
        slot=row["instance_slot"],
        restarts=row["restarts"],
    )
