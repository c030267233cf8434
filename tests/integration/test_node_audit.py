"""The node's audit log: it grows at its end, and whatever a person has the node do is begun in it before it is done."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from tests.audit_rig import NOBODY, AuditRig, audit_rig, rewritten, tampered

from skerry.core.audit_chain import GENESIS, follow
from skerry.core.audit_entries import Deed
from skerry.core.local_access import LocalAccess
from skerry.kit.clock import NS, SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused, Transient
from skerry.node.audit.callers import user_name
from skerry.node.audit.left_outside import FILE, LeftOutside, entered
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.manual_clock import ManualClock
from skerry.wire.codec import encode
from skerry.wire.sync import StateRow
from skerry.wire.workload import Assignment, Generation, ProcessSpec, WorkloadSpec

LOOKS, ACTS, ADMIN = "monitor operator admin", "operator admin", "admin"
# By hand: who is let in. Whoever is not named is refused, and so is a route that is not here.
ROUTES = {
    ("GET", "/v1/status"): LOOKS,
    ("GET", "/v1/sync"): LOOKS,
    ("POST", "/v1/sync/now"): ACTS,
    ("GET", "/v1/sync/log"): LOOKS,
    ("GET", "/v1/doctor"): LOOKS,
    ("GET", "/v1/storage"): LOOKS,
    ("GET", "/v1/logs/{workload}"): LOOKS,
    ("GET", "/v1/records"): LOOKS,
    ("GET", "/v1/models"): LOOKS,
    ("GET", "/v1/keys"): LOOKS,
    ("GET", "/v1/workers"): LOOKS,
    ("GET", "/v1/stick"): ACTS,
    ("POST", "/v1/stick/receipt"): ACTS,
    ("POST", "/v1/stop"): ACTS,
    ("POST", "/v1/unlock/{workload}"): ACTS,
    ("POST", "/v1/drivers/{twin}/start"): ACTS,
    ("POST", "/v1/workers/{workload}"): ACTS,
    ("GET", "/v1/security"): LOOKS,
    ("GET", "/v1/subscribe"): LOOKS,
    ("GET", "/v1/exec/{workload}"): ACTS,
    ("POST", "/v1/runs"): ADMIN,
    ("POST", "/v1/publish"): ADMIN,
    ("POST", "/v1/images"): ADMIN,
    ("POST", "/v1/keys/rotate"): ADMIN,
    ("POST", "/v1/keys/passphrase"): ADMIN,
}


@pytest.fixture
async def rig(short_dir: Path) -> AsyncIterator[AuditRig]:
    async with audit_rig(short_dir) as rig:
        yield rig


def deed(number: int = 0) -> Deed:
    return Deed("ann", "admin", f"act_{number}")


async def test_entries_are_one_chain_whatever_the_clock_says(
    short_dir: Path, manual_clock: ManualClock
) -> None:
    rig = AuditRig(short_dir, clock=manual_clock)
    await rig.start()
    try:
        await rig.store.audit.add(deed(1))
        manual_clock.jump_wall(-3600.0)
        assert await rig.store.audit.add(deed(2)) == 2
        first, second = rig.entries()
        assert second.at == first.at - 3600 * NS
        page = rig.page()
        assert follow(page.entries, GENESIS, page.head) is None
    finally:
        await rig.stop()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'bob'",
        "DELETE FROM audit WHERE seq = 1",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 1",
    ],
)
async def test_the_database_refuses_changes(rig: AuditRig, statement: str) -> None:
    for number in range(3):
        await rig.store.audit.add(deed(number))
    before = rig.page()
    with (
        closing(sqlite3.connect(rig.directory / "node.db")) as db,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        db.execute(statement)
    assert rig.page() == before


@pytest.mark.guarantee("G9")
async def test_what_a_person_has_the_node_do_is_begun_and_has_an_outcome(rig: AuditRig) -> None:
    assert await rig.ask("POST", "/v1/unlock/cam") == 404
    begun, ended = rig.entries()
    assert (begun.action, begun.object, begun.outcome) == (
        "unlock_updates",
        "/v1/unlock/cam",
        "begun",
    )
    assert (ended.outcome, ended.status, ended.of) == ("refused", 404, begun.seq)
    assert begun.role == "admin"
    assert begun.actor
    assert begun.origin.startswith("local socket, python")
    assert await rig.ask("GET", "/v1/status") == 404
    assert await rig.ask("GET", "/v1/nothing") == 404
    assert len(rig.entries()) == 2  # who only looks leaves nothing


@pytest.mark.guarantee("G9")
async def test_another_user_of_the_device_may_nothing_and_is_told_of_once(short_dir: Path) -> None:
    owner = os.geteuid() if os.geteuid() == 0 else 0  # root owns, and whoever asks is somebody else
    async with audit_rig(short_dir, LocalAccess(owner)) as rig:
        for _ in range(5):
            assert await rig.ask("POST", "/v1/stop", uid=NOBODY) == 403
        [told] = rig.entries()
        assert (told.action, told.outcome, told.status, told.role) == (
            "stop_node",
            "refused",
            403,
            "",
        )
        await rig.desk.flush(everything=True)
        assert [each.count for each in rig.entries()] == [1, 4]


@pytest.mark.parametrize("role", ["monitor", "operator", "admin", ""])
@pytest.mark.guarantee("G9")
async def test_each_role_may_what_the_table_says(short_dir: Path, role: str) -> None:
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    given = {role: [user_name(uid)]} if role else {}
    async with audit_rig(short_dir, LocalAccess(0, given)) as rig:
        there = {
            (route.method, route.resource.canonical)
            for route in rig.guard.declared
            if route.resource is not None
        }
        assert there == set(ROUTES)
        for (method, path), allowed in ROUTES.items():
            status = await rig.ask(
                method, path.replace("{workload}", "cam").replace("{twin}", "t"), uid=uid
            )
            wanted = {400, 404} if role in allowed.split() else {403}
            assert status in wanted, (method, path, status)


async def test_a_route_that_declares_nothing_is_refused(rig: AuditRig) -> None:
    rig.guard.declared.clear()
    assert await rig.ask("GET", "/v1/status") == 403
    assert [each.action for each in rig.entries()] == ["undeclared"]


async def test_a_workload_that_asks_for_what_is_a_persons_is_told_of(rig: AuditRig) -> None:
    door = rig.directory / "run" / "w" / "cam" / "sock"
    for number in range(3):
        assert await rig.ask("POST", f"/v1/stop{number}", socket=door) == 404
    [told] = rig.entries()
    assert (told.actor, told.action, told.object, told.detail) == (
        "workload cam", "no_such_route", "", "POST /v1/stop0",
    )  # fmt: skip
    await rig.desk.flush(everything=True)
    assert [each.count for each in rig.entries()] == [1, 2]


@pytest.mark.guarantee("G9")
async def test_what_cannot_be_entered_is_not_done(rig: AuditRig) -> None:
    await fill_up(rig)
    with contextlib.suppress(Transient):
        while True:  # its own last page has room for some
            await rig.desk.begun(deed())
    entered = rig.page()
    assert await rig.ask("POST", "/v1/keys/rotate") == 503
    assert await rig.ask("POST", "/v1/stop") == 404  # what ends a node is not kept from it
    assert rig.page() == entered


async def fill_up(rig: AuditRig) -> None:
    """The database takes nothing more, as on a full disk whose reserve is used up."""

    def work(db: sqlite3.Connection) -> None:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
        db.execute("CREATE TABLE filler (body BLOB)")
        free = db.execute("PRAGMA freelist_count").fetchone()[0] - 10
        for _ in range(free):
            db.execute("INSERT INTO filler VALUES (zeroblob(4000))")

    with contextlib.suppress(Transient):
        await rig.writer.run(work, label="fill")
    for size in (4000, 2000, 1000, 500, 100, 10):
        with contextlib.suppress(Transient):
            while True:
                statement = f"INSERT INTO filler VALUES (zeroblob({size}))"  # noqa: S608 - a number
                await rig.writer.run(lambda db, s=statement: db.execute(s).rowcount, label="fill")  # type: ignore[misc]


async def test_the_agent_says_that_it_begins_and_ends_and_that_the_one_before_did_not(
    rig: AuditRig,
) -> None:
    await rig.desk.starts("0.1", "")
    await rig.desk.stops()
    await rig.desk.starts("0.1", "it was damaged")
    await rig.desk.starts("0.1", "")
    said = [(each.action, each.detail) for each in rig.entries()]
    assert said == [
        ("agent_start", "version 0.1"),
        ("agent_stop", ""),
        ("database_rebuilt", "it was damaged"),
        ("agent_start", "version 0.1"),
        ("agent_start", "version 0.1; the one before ended without saying so"),
    ]


async def test_what_commands_leave_is_entered_once(rig: AuditRig) -> None:
    disk, clock = RealDisk(), SystemClock()
    with entered(rig.directory, disk, clock, "enrol_node", "at a hub") as say:
        begun = rig.directory / FILE
        assert b"begun" in begun.read_bytes()
        say("at a hub, as «n»")
    with pytest.raises(RuntimeError), entered(rig.directory, disk, clock, "restore_node", ""):
        raise RuntimeError("it does not work")
    with (rig.directory / FILE).open("ab") as file:
        file.write(b'{"id": "half')
    left = (rig.directory / FILE).read_bytes()
    await rig.desk.take_outside()
    assert not (rig.directory / FILE).exists()
    (rig.directory / FILE).write_bytes(left)  # the agent was killed before it could remove it
    LeftOutside(rig.directory, disk, clock).leave(deed(7))
    await rig.desk.starts("0.1", "")
    found = [(each.action, each.outcome, each.of) for each in rig.entries()]
    assert found == [
        ("enrol_node", "begun", 0),
        ("enrol_node", "done", 1),
        ("restore_node", "begun", 0),
        ("restore_node", "failed", 3),
        ("act_7", "done", 0),
        ("agent_start", "done", 0),
    ]
    assert rig.entries()[1].detail == "at a hub, as «n»"


def test_a_command_that_cannot_leave_who_it_was_does_nothing(tmp_path: Path) -> None:
    disk = FaultyDisk(1, code=errno.ENOSPC)
    done = []
    with (
        pytest.raises(Refused, match="who does this: No space left on device"),
        entered(tmp_path, disk, SystemClock(), "restore_node", ""),
    ):
        done.append(1)
    assert done == []


def assigned(
    generation: int, restarts: int = 0, rev: int = 1, *, deleted: bool = False
) -> StateRow:
    spec = WorkloadSpec(name="cam", process=ProcessSpec(command=["true"]))
    body = encode(Assignment("cam", Generation(1, generation), spec, restarts))
    return StateRow("assignment", "cam", rev, rev << 16, "hub", deleted, msgspec.Raw(body))


async def test_what_the_hub_has_the_node_do_is_entered_with_it(rig: AuditRig) -> None:
    for number, row in enumerate(
        [
            assigned(1),
            assigned(1, rev=2),
            assigned(2, rev=3),
            assigned(2, restarts=1, rev=4),
            assigned(2, rev=5, deleted=True),
        ]
    ):
        await rig.store.apply_pull([row], f"cursor-{number}")
    await rig.store.apply_pull([assigned(3, rev=6)], "cursor-6")
    await rig.store.apply_pull([], "cursor-7", whole=set())
    said = [(each.actor, each.action, each.object, each.detail) for each in rig.entries()]
    assert said == [
        ("hub", "assign_workload", "cam", "generation 1.1"),
        ("hub", "change_workload", "cam", "generation 1.2"),
        ("hub", "restart_workload", "cam", "generation 1.2"),
        ("hub", "unassign_workload", "cam", ""),
        ("hub", "assign_workload", "cam", "generation 1.3"),
        ("hub", "unassign_workload", "cam", ""),
    ]


@pytest.mark.guarantee("G9")
async def test_an_altered_or_deleted_line_shows(rig: AuditRig) -> None:
    for number in range(5):
        await rig.store.audit.add(deed(number))
    whole, database = rig.page(), rig.directory / "node.db"
    rewritten(database, 3)
    anew = rig.page()
    assert follow(anew.entries, GENESIS) is None
    found = follow(anew.entries, GENESIS, whole.head)
    assert found is not None
    assert found.fault == "forked"
    tampered(database, "UPDATE audit SET actor = 'bob' WHERE seq = 2")
    found = follow(rig.page().entries, GENESIS)
    assert found is not None
    assert (found.fault, found.seq) == ("changed", 2)
    tampered(database, "DELETE FROM audit WHERE seq = 2")
    found = follow(rig.page().entries, GENESIS)
    assert found is not None
    assert (found.fault, found.seq) == ("missing", 2)


async def test_who_has_a_role_finds_the_socket_outside_the_data_directory(short_dir: Path) -> None:
    home, outside = short_dir / "n", short_dir / "open"
    home.mkdir(mode=0o700)
    short_dir.chmod(0o711)
    given = {"monitor": [user_name(NOBODY)]}
    rig = AuditRig(home, LocalAccess(0, given), others=outside)
    await rig.start()
    try:
        home.chmod(0o700)
        door = outside / "run" / "admin.sock"
        assert (outside.stat().st_mode & 0o777, door.stat().st_mode & 0o777) == (0o755, 0o666)
        as_root = os.geteuid() == 0
        assert await rig.ask("GET", "/v1/status", uid=NOBODY, socket=door) == (
            404 if as_root else 403
        )
        assert await rig.ask("POST", "/v1/stop", uid=NOBODY, socket=door) == 403
        door.unlink()
        await rig.api.mend()
        assert await rig.ask("GET", "/v1/doctor", socket=door) == (404 if as_root else 403)
    finally:
        await rig.stop()
    outside.chmod(0o777)
    again = AuditRig(home, LocalAccess(0, given), others=outside)
    with pytest.raises(Refused, match="somebody else may put another one in its place"):
        await again.start()
    await again.stop()


async def test_an_outcome_names_its_beginning_however_late_it_comes(rig: AuditRig) -> None:
    outside = LeftOutside(rig.directory, RealDisk(), SystemClock())
    begun = outside.leave(deed(1))
    await rig.desk.take_outside()
    outside.leave(deed(2))
    await rig.desk.take_outside()
    outside.leave(deed(3), begun)
    await rig.desk.take_outside()
    seq = {entry.action: entry.seq for entry in rig.entries()}
    assert {entry.action: entry.of for entry in rig.entries()}["act_3"] == seq["act_1"]
    assert not (rig.directory / FILE).exists()


def test_a_line_that_is_left_while_others_are_taken_stays(tmp_path: Path) -> None:
    outside = LeftOutside(tmp_path, RealDisk(), SystemClock())
    outside.leave(deed(1))
    late: list[threading.Thread] = []

    class Late(RealDisk):
        def unlink(self, label: str, path: Path) -> None:
            """Between the look and the removal somebody else begins; he is given all the time that he takes."""
            late.append(threading.Thread(target=outside.leave, args=(deed(2),)))
            late[0].start()
            late[0].join(0.5)
            super().unlink(label, path)

    agent = LeftOutside(tmp_path, Late(), SystemClock())
    agent.taken(agent.read())
    late[0].join(30)
    assert [line.deed.action for line in agent.read()] == ["act_2"]
