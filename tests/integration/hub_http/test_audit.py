"""What requests leave in the audit log: every person's that is not `read`, every refusal, and nothing secret."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.http_client import Client, problem, text_of
from tests.route_table import ROUTES, ask

from skerry.core.audit_chain import GENESIS, follow
from skerry.testing.running_hub import EnrolledNode, RunningHub, running_hub
from skerry.wire.access import AccessTokenReply, AccessTokenRequest
from skerry.wire.audit import AuditEntry, AuditHead, AuditHeadReply, AuditPage, AuditRow
from skerry.wire.codec import decode, encode
from skerry.wire.people import Apply, LoginCode, TokenReply, TokenRequest
from skerry.wire.workload import ProcessSpec, WorkloadSpec

AUDITED = {"admin", "operator admin"}
"""Who may use a route that needs more than `read`, in the words of the table."""

CANARY = "c4n4ry-in-a-coal-mine"


def rows_in(directory: Path) -> list[AuditRow]:
    """Read behind the hub's back, because to read the log leaves an entry, too."""
    with contextlib.closing(sqlite3.connect(directory / "hub.db")) as database:
        database.row_factory = sqlite3.Row
        found = database.execute("SELECT * FROM audit ORDER BY seq").fetchall()
    names = AuditEntry.__struct_fields__
    return [AuditRow(AuditEntry(**{name: row[name] for name in names}), row["hash"]) for row in found]  # fmt: skip


@pytest.fixture
def entries(tmp_path: Path, hub: RunningHub) -> Callable[[], list[AuditEntry]]:
    """What was entered since it was asked last."""
    seen = 0

    def new() -> list[AuditEntry]:
        nonlocal seen
        found = [row.entry for row in rows_in(tmp_path)][seen:]
        seen += len(found)
        return found

    return new


Entries = Callable[[], list[AuditEntry]]


@pytest.mark.guarantee("G9")
async def test_every_request_that_is_not_read_is_entered_with_its_outcome(
    hub: RunningHub, client: Client, entries: Entries, tmp_path: Path
) -> None:
    operator = await hub.access_token("op", "operator")
    for (method, path), who in ROUTES.items():
        if method == "WS" and who in AUDITED:
            continue  # it has no answer, and ends when it likes: test_tunnels looks at both entries
        entries()
        headers, name, role = (hub.person, "admin", "admin")
        if who == "operator admin":
            headers, name, role = (operator, "op", "operator")
        status = await ask(client, method, path, headers)
        found = entries()
        if who not in AUDITED:
            assert [each for each in found if each.status < 400] == [], path
            continue
        ended = found[-1]
        wanted = "done" if status < 400 else "refused"
        assert (ended.actor, ended.role, ended.outcome, ended.status) == (name, role, wanted, status), path  # fmt: skip
        assert ended.origin == "127.0.0.1"
        assert ended.object.startswith(path.partition("{")[0])
        if method == "GET":
            assert (len(found), ended.of) == (1, 0)
            continue
        [begun, _] = found
        assert (begun.outcome, begun.status, ended.of) == ("begun", 0, begun.seq)
        same = ("actor", "role", "action", "object", "origin")
        assert [getattr(begun, each) for each in same] == [getattr(ended, each) for each in same]
    rows = rows_in(tmp_path)
    assert follow(rows, GENESIS) is None
    assert len(rows) > 40


async def test_what_a_node_does_is_not_entered(
    hub: RunningHub, node: EnrolledNode, client: Client, entries: Entries
) -> None:
    entries()
    for (method, path), who in ROUTES.items():
        if who == "node":
            await ask(client, method, path, hub.node(node))
    assert entries() == []


@pytest.mark.guarantee("G9")
async def test_nothing_is_done_that_cannot_be_entered(
    hub: RunningHub, client: Client, tmp_path: Path
) -> None:
    token = await hub.access_token("ci", "monitor")
    with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as database:
        database.execute("ALTER TABLE audit RENAME TO gone")
    async with client.delete("/api/v1/access/tokens/ci", headers=hub.person) as response:
        assert response.status == 503
    await text_of(client, "GET", "/api/v1/nodes", 200, token)
    await problem(client, "GET", "/api/v1/nodes", 401, {"Authorization": "Bearer wrong"})


async def test_refusals_are_told_once_and_counted(client: Client, tmp_path: Path) -> None:
    data_dir = tmp_path / "other"
    data_dir.mkdir()
    async with running_hub(data_dir) as hub:
        monitor = await hub.access_token("ci", "monitor")
        path = f"{hub.address}/api/v1/workloads/w"
        for number in range(100):
            for headers, status in ((monitor, 403), ({"Authorization": f"Bearer {number}"}, 401)):
                async with client.delete(path, headers=headers) as response:
                    assert response.status == status
            async with client.post(f"{hub.address}/sync/v1/pull", data=b"") as response:
                assert response.status == 401
        told = [row.entry for row in rows_in(data_dir) if row.entry.outcome == "refused"]
        assert [(each.status, each.actor, each.count) for each in told] == [
            (403, "ci", 1), (401, "", 1), (401, "", 1),
        ]  # fmt: skip
        assert {each.action for each in told} == {"delete_workload", "pull"}
    after = [row.entry for row in rows_in(data_dir) if row.entry.outcome == "refused"][3:]
    assert sorted((each.status, each.actor, each.count) for each in after) == [
        (401, "", 99), (401, "", 99), (403, "ci", 99),
    ]  # fmt: skip
    assert follow(rows_in(data_dir), GENESIS) is None


async def test_a_token_that_was_revoked_is_named_when_it_is_refused(
    hub: RunningHub, client: Client, entries: Entries
) -> None:
    token = await hub.access_token("ci", "admin")
    await text_of(client, "DELETE", "/api/v1/access/tokens/ci", 200, hub.person)
    entries()
    await problem(client, "GET", "/api/v1/nodes", 401, token)
    [refused] = entries()
    assert refused.detail.startswith("cannot use this route: token «ci» was revoked at 2")


async def test_sign_ins_of_browsers_are_entered(
    hub: RunningHub, client: Client, entries: Entries
) -> None:
    token = await hub.access_token("ann", "monitor")
    text = await text_of(client, "POST", "/api/v1/login-codes", 200, token)
    path = decode(text.encode(), LoginCode, "a code").path
    entries()
    for _ in range(2):
        async with client.get(path, allow_redirects=False) as response:
            assert response.status in {303, 401}
    for shown in (hub.admin_token, "wrong"):
        async with client.post("/login", data={"token": shown}, allow_redirects=False) as response:
            assert response.status in {303, 401}
    found = entries()
    assert [(each.actor, each.action, each.outcome) for each in found] == [
        ("ann", "sign_in", "done"), ("", "sign_in", "refused"), ("admin", "sign_in", "done"),
    ]  # fmt: skip


async def test_tokens_are_named_when_they_are_made_and_revoked(
    hub: RunningHub, client: Client, entries: Entries
) -> None:
    entries()
    await hub.access_token("ci", "operator", 60.0)
    await text_of(client, "DELETE", "/api/v1/access/tokens/ci", 200, hub.person)
    made, revoked = (each for each in entries() if each.outcome == "done")
    assert (made.action, made.detail) == ("create_access_token", "token «ci», role operator, for 60 s")  # fmt: skip
    assert (revoked.action, revoked.object) == ("revoke_access_token", "/api/v1/access/tokens/ci")


@pytest.mark.guarantee("G10")
async def test_no_secret_and_no_body_is_entered(
    hub: RunningHub, client: Client, tmp_path: Path
) -> None:
    async def sent(method: str, path: str, body: object, kind: type) -> object:
        async with client.request(method, path, data=encode(body), headers=hub.person) as response:
            assert response.status < 300
            return decode(await response.read(), kind, path)

    asked = AccessTokenRequest("ci", "admin")
    token = (await sent("POST", "/api/v1/access/tokens", asked, AccessTokenReply)).token
    enrolment = (await sent("POST", "/api/v1/tokens", TokenRequest(), TokenReply)).token
    code = (await sent("POST", "/api/v1/login-codes", None, LoginCode)).path
    spec = WorkloadSpec(name="w", process=ProcessSpec(command=[CANARY]), env={"KEY": CANARY})
    async with client.put("/api/v1/workloads", data=encode(Apply([spec])), headers=hub.person) as r:
        assert r.status == 200
    async with client.get(code, allow_redirects=False) as response:
        cookie = response.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    for method, path in (("DELETE", "/api/v1/access/tokens/{}"), ("GET", "/api/v1/nodes?t={}")):
        for secret in (token, enrolment + enrolment, hub.admin_token, CANARY):
            shown = path.format(secret) if secret != CANARY or "?" in path else path.format("w")
            async with client.request(method, shown, headers=hub.person) as response:
                await response.read()
    async with client.get("/api/v1/nodes", headers={"Authorization": f"Bearer {CANARY}"}) as r:
        assert r.status == 401
    held = repr(rows_in(tmp_path))
    secrets = (token, token[4:], enrolment + enrolment, hub.admin_token, CANARY, cookie)
    assert [each for each in (*secrets, code.partition("=")[2]) if each in held] == []
    assert "create w" in held


async def test_the_log_is_read_by_pages(hub: RunningHub, client: Client, tmp_path: Path) -> None:
    for number in range(4):
        await hub.access_token(f"t{number}", "monitor")
    text = await text_of(client, "GET", "/api/v1/audit?after=2&limit=3", 200, hub.person)
    page = decode(text.encode(), AuditPage, "a page")
    assert page.entries == rows_in(tmp_path)[2:5]
    assert page.head == AuditHead(8, rows_in(tmp_path)[7].hash)
    text = await text_of(client, "GET", "/api/v1/audit/head", 200, hub.person)
    reply = decode(text.encode(), AuditHeadReply, "a head")
    assert (reply.hub_id, reply.head) == (page.hub_id, AuditHead(9, rows_in(tmp_path)[8].hash))
    for wrong in ("after=-1", "limit=0", "limit=1001", "after=x"):
        await problem(client, "GET", f"/api/v1/audit?{wrong}", 400, hub.person)
