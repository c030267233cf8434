"""The rows of a node's files: what is here, which record names it, and whether the hub has it.

`node.files` keeps the bytes beside them and decides.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from skerry.kit.clock import NS, Clock
from skerry.kit.sqlite import SqliteWriter, read_queries

_ANY = 2**63 - 1

FILES_DIRECTORY = "files"
"""Of the data directory: where the bytes are."""

SQL = read_queries(Path(__file__).with_name("files.sql"))

_CLOCK_SET = 1_577_836_800 * NS
"""2020: a clock that says less was not set."""


class Moment(msgspec.Struct, frozen=True):
    """A time by both clocks; `monotonic` compares only within one boot."""

    wall: int
    monotonic: int
    boot: str

    @staticmethod
    def now(clock: Clock) -> Moment:
        return Moment(clock.wall_ns(), clock.monotonic_ns(), clock.boot_id())


class FileRow(msgspec.Struct, frozen=True):
    """One content. `n`: a record of lane «event» up to this number names it (0: none yet); times are wall ns.

    Once it is sent, a copy of the hub that has record `n` has the content, too.

    `sent_at` None: the hub does not have it; else `sent_no` is higher than that of all it had then. `problem` says why
    it will not be sent.
    """

    sha256: str
    size: int
    at: int
    n: int = 0
    sent_at: int | None = None
    problem: str = ""
    sent_no: int = 0
    sent_monotonic: int = 0
    sent_boot: str = ""


class FileTotals(msgspec.Struct, frozen=True):
    """How many there are and how many wait for the hub; `used` and `unsent` in bytes; one of the problems, or empty."""

    count: int
    used: int
    waiting: int
    unsent: int
    problem: str


class FileRows:
    """All writes go through the node's writer and are durable when they return; they raise Transient."""

    def __init__(self, writer: SqliteWriter, reader: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader = reader

    def row(self, sha256: str) -> FileRow | None:
        """One content, or None."""
        found = self._reader.execute(SQL["row"], (sha256,)).fetchone()
        return None if found is None else FileRow(**dict(found))

    def waiting(self, most: int) -> list[FileRow]:
        """What the hub is to get, the one that was given first first."""
        return self._rows("waiting", most)

    def page(self, after: str, most: int) -> list[FileRow]:
        """Contents in the order of their names, from the one after that name on."""
        return self._rows("page", after, most)

    def unnamed(self, before: int) -> list[FileRow]:
        """What was given before then and no record names."""
        return self._rows("unnamed", before)

    def sent_ones(self, before: int = _ANY) -> Iterator[FileRow]:
        """What the hub has, the one that it has had longest first, up to that `sent_no`. Read as it is taken."""
        return self._each("sent_ones", before)

    def sent_after(self, number: int, most: int) -> list[FileRow]:
        """What the hub has from after that `sent_no` on."""
        return self._rows("sent_after", number, most)

    def backed_up(self, n: int) -> Iterator[FileRow]:
        """What a copy of the hub has that has record `n`, the oldest first. Read as it is taken."""
        return self._each("backed_up", n)

    def first_young(self, age: int, now: Moment) -> int:
        """The `sent_no` before which the hub has had everything for `age` nanoseconds, by the clock that can be trusted more."""
        bounds = {"boot": now.boot, "monotonic": now.monotonic - age, "wall": now.wall - age}
        query = SQL["first_young"]
        found = self._reader.execute(query, bounds | {"set": _CLOCK_SET}).fetchone()
        return _ANY if found is None else int(found[0])

    def backed_up_or_old_size(self, n: int, before: int) -> int:
        """Bytes of what `backed_up` and `sent_ones` give."""
        query = SQL["backed_up_or_old_size"]
        return int(self._reader.execute(query, {"n": n, "no": before}).fetchone()[0])

    def last_sent(self) -> FileRow | None:
        """What the hub got last."""
        return next(iter(self._rows("last_sent")), None)

    def totals(self) -> FileTotals:
        """Sums over all of them."""
        return FileTotals(**dict(self._reader.execute(SQL["totals"]).fetchone()))

    def _rows(self, query: str, *values: object) -> list[FileRow]:
        return list(self._each(query, *values))

    def _each(self, query: str, *values: object) -> Iterator[FileRow]:
        return (FileRow(**dict(row)) for row in self._reader.execute(SQL[query], values))

    @property
    def lost_some(self) -> bool:
        """Whether the database was replaced: contents without a row are then no leftovers, until they are taken in."""
        found = self._reader.execute(SQL["to_take_in"]).fetchone()
        return found is not None

    async def take_in(self, rows: Collection[FileRow]) -> None:
        """All contents that are here, of which some lost their rows; from now on one without a row is a leftover.

        Rows of contents that the hub has and that are not here go.
        """
        found = [{"sha256": row.sha256, "size": row.size, "at": row.at, "n": row.n} for row in rows]
        here = {row.sha256 for row in rows}
        gone = [{"sha256": row.sha256} for row in self.sent_ones() if row.sha256 not in here]

        def work(db: sqlite3.Connection) -> None:
            db.executemany(SQL["take_in"], found)
            db.executemany(SQL["drop"], gone)
            db.execute(SQL["taken_in"])

        await self._writer.run(work, label="file.take-in", durable=True)

    async def put(self, sha256: str, size: int, at: int) -> None:
        """The bytes are here."""
        await self._write("put", [{"sha256": sha256, "size": size, "at": at}])

    async def name(self, sha256s: Iterable[str], n: int) -> None:
        """A record up to number `n` names them."""
        await self._write("name", [{"sha256": one, "n": n} for one in sha256s])

    async def sent(self, sha256: str, at: Moment, n: int) -> None:
        """The hub had all of it before record `n` was accepted here."""
        await self._write("sent", [{"sha256": sha256, "n": n} | msgspec.structs.asdict(at)])

    async def lost(self, sha256s: Iterable[str]) -> None:
        """The hub does not have them any more."""
        await self._write("lost", [{"sha256": one} for one in sha256s])

    async def all_lost(self, number: int) -> None:
        """The hub may not have any more what it has got from that `sent_no` on."""
        await self._write("all_lost", [{"no": number}])

    async def fail(self, sha256: str, problem: str) -> None:
        """It will not be sent."""
        await self._write("problem", [{"sha256": sha256, "problem": problem}])

    async def drop(self, sha256s: Iterable[str]) -> None:
        """Their bytes may go."""
        await self._write("drop", [{"sha256": one} for one in sha256s])

    async def _write(self, query: str, rows: list[dict[str, object]]) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.executemany(SQL[query], rows)

        await self._writer.run(work, label=f"file.{query}", durable=True)
