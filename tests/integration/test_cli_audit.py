"""`skerry audit`: what is listed, and that a row that somebody changed, took away or wrote anew is found."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import msgspec
import pytest
from tests.shell import Shell

from skerry.cli.audit import entries_table
from skerry.core.audit_chain import GENESIS, entry_hash
from skerry.kit.clock import NS
from skerry.wire.audit import AuditEntry, AuditHead, AuditRow

pytestmark = pytest.mark.timeout(120)


def tampered(shell: Shell, *statements: str) -> None:
    """What whoever owns the machine can do: the triggers go first."""
    with contextlib.closing(sqlite3.connect(shell.site.hub.directory / "hub.db")) as database:
        for name in ("update", "delete", "replace"):
            database.execute(f"DROP TRIGGER IF EXISTS audit_no_{name}")
        for statement in statements:
            database.execute(statement)
        database.commit()


def rewritten(shell: Shell, first: int) -> None:
    """All entries from `first` on are somebody else's, and every hash is right."""
    names = AuditEntry.__struct_fields__
    with contextlib.closing(sqlite3.connect(shell.site.hub.directory / "hub.db")) as database:
        database.row_factory = sqlite3.Row
        head = GENESIS
        for row in database.execute("SELECT * FROM audit ORDER BY seq").fetchall():
            entry = AuditEntry(**{name: row[name] for name in names} | {"prev": head.hash})
            if entry.seq >= first:
                entry = msgspec.structs.replace(entry, actor="mallory")
            head = AuditHead(entry.seq, entry_hash(entry))
            database.execute(
                "UPDATE audit SET actor = ?, prev = ?, hash = ? WHERE seq = ?",
                (entry.actor, entry.prev, head.hash, entry.seq),
            )
        database.commit()


async def some_entries(shell: Shell) -> None:
    for name in ("ann", "bob"):
        ended = await shell.run("access", "token", "create", name, "--role", "monitor")
        assert ended.code == 0


async def verified(shell: Shell, *words: str) -> dict[str, object]:
    ended = await shell.run("audit", "verify", *words, "-o", "json")
    assert ended.code == 0, ended.err
    assert isinstance(ended.json, dict)
    return ended.json


async def found(shell: Shell, *words: str) -> str:
    ended = await shell.run("audit", "verify", *words)
    assert (ended.code, ended.out) == (1, "")
    return ended.err


async def test_who_did_what_is_listed(shell: Shell) -> None:
    made = await shell.run("access", "token", "create", "ci", "--role", "monitor")
    file = shell.home / "ci.token"
    file.write_text(made.out)
    refused = await shell.run(
        "restart", "workload", "w", "--hub", shell.site.hub.url, "--token-file", str(file)
    )
    assert refused.code == 1
    listed = await shell.run("audit", "list")
    assert listed.code == 0
    assert listed.lines[0].split() == [
        "SEQ", "WHEN", "WHO", "ROLE", "ACTION", "OBJECT", "FROM", "OUTCOME", "STATUS", "COUNT", "DETAIL",
    ]  # fmt: skip
    [created] = [line for line in listed.lines if "create_access_token" in line]
    assert "token «ci», role monitor" in created
    [denied] = [line.split() for line in listed.lines if "restart_workload" in line]
    assert denied[3:] == ["ci", "monitor", "restart_workload", "127.0.0.1", "refused", "403", "1"]
    everything = (await shell.run("audit", "list", "-o", "json")).json
    assert isinstance(everything, list)
    outcomes = {each["entry"]["outcome"] for each in everything}
    assert outcomes == {"begun", "done", "refused"}
    newest = await shell.run("audit", "list", "--limit", "1")
    assert "read_audit" in newest.lines[1]
    assert (await shell.run("audit", "list", "--since", "2100-01-01")).out == ""
    assert (await shell.run("audit", "list", "--since", "1h")).out.count("create_access_token") == 1
    denied_list = await shell.run(
        "audit", "list", "--hub", shell.site.hub.url, "--token-file", str(file)
    )
    assert "needs permission configure" in denied_list.err


async def test_what_is_whole_is_said_to_be_and_its_head_is_kept(shell: Shell) -> None:
    await some_entries(shell)
    first = await verified(shell)
    kept = Path(str(first["kept_in"]))
    assert kept.is_relative_to(shell.home / ".local" / "state" / "skerry" / "audit")
    again = await shell.run("audit", "verify")
    assert f"and goes on from entry {first['seq']}; the head is kept in {kept}" in again.out
    away = shell.home / "head.json"
    assert (await verified(shell, "--head", str(away)))["kept_in"] == str(away)
    address = f"sqlite:///{shell.site.hub.directory}/hub.db"
    assert (await verified(shell, "--head", str(away), "--database", address))["seq"] > first["seq"]
    missing = await shell.run("audit", "verify", "--database", "sqlite:////no/such.db")
    assert (missing.code, "there is no such file" in missing.err) == (2, True)


async def test_a_row_that_was_changed_is_found(shell: Shell) -> None:
    await some_entries(shell)
    tampered(shell, "UPDATE audit SET actor = 'bob' WHERE seq = 3")
    words = await found(shell)
    assert "entry 3 is not what its hash was made of: it was changed (changed, entry 3)" in words
    assert "(changed, entry 3)" in await found(
        shell, "--database", f"sqlite:///{shell.site.hub.directory}/hub.db"
    )
    tampered(shell, "UPDATE audit SET actor = 'admin' WHERE seq = 3")
    assert (await verified(shell))["seq"]


async def test_a_row_that_was_taken_away_is_found(shell: Shell) -> None:
    await some_entries(shell)
    tampered(shell, "DELETE FROM audit WHERE seq = 3")
    assert "after entry 2 comes 4 (missing, entry 3)" in await found(shell)


async def test_a_tail_that_was_taken_away_is_found_by_the_head_that_was_kept(shell: Shell) -> None:
    await some_entries(shell)
    kept = await verified(shell)
    tampered(shell, f"DELETE FROM audit WHERE seq >= {kept['seq']}")  # noqa: S608 - a number
    words = await found(shell)
    assert f"the last 1 are gone (truncated, entry {kept['seq']})" in words
    await some_entries_again(shell)  # it has grown past what was kept
    assert f"(forked, entry {kept['seq']})" in await found(shell)
    assert "whole" in (await shell.run("audit", "verify", "--anew")).out
    assert (await verified(shell))["seq"]


async def some_entries_again(shell: Shell) -> None:
    for name in ("cid", "dee"):
        ended = await shell.run("access", "token", "create", name, "--role", "monitor")
        assert ended.code == 0


async def test_a_history_that_was_written_anew_is_found_by_the_head_that_was_kept(
    shell: Shell,
) -> None:
    await some_entries(shell)
    kept = await verified(shell)
    tampered(shell)
    rewritten(shell, 2)
    words = await found(shell)
    assert f"(forked, entry {kept['seq']})" in words
    head = Path(str(kept["kept_in"]))
    assert f'"seq": {kept["seq"]}' in head.read_text()


async def test_the_log_of_another_hub_is_not_taken_for_this_one(shell: Shell) -> None:
    kept = Path(str((await verified(shell))["kept_in"]))
    kept.write_text(kept.read_text().replace('"hub_id": "', '"hub_id": "x'))
    assert "it is the log of" in await found(shell)
    kept.write_text("{")
    assert (await shell.run("audit", "verify")).code == 2


def test_what_was_begun_and_ended_is_one_line() -> None:
    rows = [
        AuditRow(
            AuditEntry(
                seq=number, at=0, actor="a", action="act", outcome=outcome, of=of, prev="0" * 64
            ),
            "",
        )
        for number, outcome, of in ((1, "begun", 0), (2, "begun", 0), (3, "done", 1))
    ]
    cells = [row[0].text for row in entries_table(rows, NS).rows if not isinstance(row[0], str)]
    assert cells == ["2", "3"]
