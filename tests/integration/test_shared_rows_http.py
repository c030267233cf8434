"""Shared rows over HTTP: nodes push and pull, people read, write and decide, and the command line shows it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from tests.hub_rig import Lanes
from tests.installation import BY_SECRET, installation
from tests.shared_rows import put
from tests.shell import Shell

from skerry.testing.running_hub import EnrolledNode, RunningHub, running_hub
from skerry.wire.codec import decode, encode
from skerry.wire.rows import Conflict, Decision, Resolve, RowVersion, RowView, RowWritten
from skerry.wire.shared import (
    Buckets,
    BucketsReply,
    Declaration,
    Edit,
    EditFrame,
    RowsPage,
    RowsPart,
    RowsPull,
    RowsWanted,
    judged_of,
)
from skerry.wire.sync import PushReply

pytestmark = pytest.mark.timeout(120)

ROWS = "/api/v1/entities/recipe/rows"


class Caller:
    """Somebody who asks a hub."""

    def __init__(self, session: aiohttp.ClientSession, headers: dict[str, str]) -> None:
        self._session = session
        self._headers = headers
        self._lanes = Lanes()

    async def ask(self, method: str, path: str, body: object = None, status: int = 200) -> bytes:
        data = None if body is None else encode(body)
        async with self._session.request(method, path, data=data, headers=self._headers) as answer:
            found = await answer.read()
            assert answer.status == status, found
            return found

    async def push(self, entity: str, *edits: Edit) -> PushReply:
        unit = self._lanes.unit("rows-high", [EditFrame(entity, list(edits))])
        return decode(await self.ask("POST", "/sync/v1/push", unit), PushReply, "reply")

    async def pull(self, cursor: str = "") -> RowsPart:
        found = await self.ask("POST", "/sync/v1/rows/pull", RowsPull({"recipe": cursor}))
        [part] = decode(found, RowsPage, "page").parts
        return part


@asynccontextmanager
async def in_conflict(hub: RunningHub) -> AsyncIterator[tuple[Caller, Caller, Caller]]:
    """The administrator and two nodes; the second one's edit waits."""
    async with aiohttp.ClientSession(hub.address) as session:
        person = Caller(session, hub.person)
        a, b = [Caller(session, hub.node(node)) for node in await enrolled(hub)]
        await a.push("entity", put("recipe", Declaration("manual")))
        [rev] = (await a.push("recipe", put("r", {"n": 0}))).revs
        await a.push("recipe", put("r", {"n": "a"}, rev, 2))
        reply = await b.push("recipe", put("r", {"n": "b"}, rev, 3))
        assert [judged.outcome for judged in judged_of(reply.judged)] == ["conflict"]
        yield person, a, b


async def enrolled(hub: RunningHub) -> list[EnrolledNode]:
    return [await hub.enrol(name) for name in ("n-a", "n-b")]


async def test_nodes_pull_compare_and_people_decide(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub, in_conflict(hub) as (person, a, b):
        part = await b.pull()
        [row] = part.rows
        asked = Buckets("recipe", [0] * 256)
        differing = decode(await b.ask("POST", "/sync/v1/rows/buckets", asked), BucketsReply, "")
        [[held]] = differing.differing.values()
        assert (held.id, held.rev) == (row.id, row.rev)
        wanted = await b.ask("POST", "/sync/v1/rows/wanted", RowsWanted("recipe", ["r"]))
        assert decode(wanted, RowsPart, "").rows == [row]

        path = "/api/v1/conflicts/recipe/r"
        shown = decode(await person.ask("GET", path), Conflict, "")
        assert shown.row is not None
        assert (shown.row.by, shown.waiting[0].node) == ("n-a", "n-b")
        assert len(json.loads(await person.ask("GET", "/api/v1/conflicts?entity=recipe"))) == 1
        done = decode(await person.ask("POST", f"{path}/resolve", Resolve("node")), RowWritten, "")
        for node in (a, b):
            [decided] = (await node.pull(part.cursor if node is b else "")).rows
            assert (decided.rev, bytes(decided.body)) == (done.rev, b'{"n":"b"}')
        assert b"has decided" in await person.ask("GET", path, status=404)
        found = await person.ask("GET", "/api/v1/decisions?entity=recipe")
        [decision] = decode(found, list[Decision], "")
        assert (decision.rev, decision.where, decision.who) == (done.rev, "hub", "admin")
        history = decode(await person.ask("GET", f"{ROWS}/r/history"), list[RowVersion], "")
        assert [each.by for each in history] == ["n-a", "n-a", "n-b", "hub"]
        assert history[-1].decision == decision


async def test_a_decision_is_noted_under_the_name_of_the_token(tmp_path: Path) -> None:
    path = "/api/v1/conflicts/recipe/r"
    async with (
        running_hub(tmp_path) as hub,
        in_conflict(hub),
        aiohttp.ClientSession(hub.address) as session,
    ):
        ann = Caller(session, await hub.access_token("ann", "admin"))
        night = Caller(session, await hub.access_token("night", "operator"))
        await night.ask("POST", f"{path}/resolve", Resolve("node"), status=403)
        await ann.ask("POST", f"{path}/resolve", Resolve("node"))
        found = await night.ask("GET", "/api/v1/decisions?entity=recipe")
        [decision] = decode(found, list[Decision], "")
        assert (decision.where, decision.who) == ("hub", "ann")


async def test_any_id_can_be_in_a_path(tmp_path: Path) -> None:
    """Slashes, escaped escapes and what else may be in one, wherever a path has an id."""
    ids = ["a/b", "/a//b/", "a%2Fb", "ä ?#&=+;", "rows/history", "a/b/resolve"]
    async with running_hub(tmp_path) as hub, aiohttp.ClientSession(hub.address) as session:
        person, node = Caller(session, hub.person), Caller(session, hub.node(await hub.enrol("n")))
        await node.push("entity", put("recipe", Declaration("manual")))
        for number, row_id in enumerate(ids):
            path = f"{ROWS}/{quote(row_id, safe='')}"
            await person.ask("PUT", path, {"body": {"n": number}})
            row = decode(await person.ask("GET", path), RowView, "")
            assert (row.id, bytes(row.body)) == (row_id, b'{"n":%d}' % number)
            await person.ask("PUT", path, {"body": {"n": "later"}})
            await node.push("recipe", put(row_id, {"n": "node"}, row.rev, 2))
            assert len(json.loads(await person.ask("GET", f"{path}/history"))) == 3
            conflict = f"/api/v1/conflicts/recipe/{quote(row_id, safe='')}"
            assert decode(await person.ask("GET", conflict), Conflict, "").id == row_id
            await person.ask("POST", f"{conflict}/resolve", Resolve("node"))
            await person.ask("DELETE", path)
            await person.ask("GET", path, status=404)


async def test_people_write_rows(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub, aiohttp.ClientSession(hub.address) as session:
        person = Caller(session, hub.person)
        await person.ask("PUT", f"{ROWS}/a%20b", {"body": {"n": 1}})
        row = decode(await person.ask("GET", f"{ROWS}/a%20b"), RowView, "")
        assert (row.id, row.by, bytes(row.body)) == ("a b", "hub", b'{"n":1}')
        assert [each["id"] for each in json.loads(await person.ask("GET", ROWS))["rows"]] == ["a b"]
        await person.ask("PUT", f"{ROWS}/a%20b", {"body": [1]}, status=400)
        await person.ask("DELETE", f"{ROWS}/a%20b?base={row.rev}")
        await person.ask("GET", f"{ROWS}/a%20b", status=404)
        [view] = json.loads(await person.ask("GET", "/api/v1/entities"))
        assert (view["entity"], view["rows"]) == ("recipe", 0)


async def test_a_node_that_pulls_hears_of_changes_on_its_link(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub, aiohttp.ClientSession(hub.address) as session:
        [node, _] = await enrolled(hub)
        await Caller(session, hub.node(node)).pull()
        async with session.ws_connect("/sync/v1/link", headers=hub.node(node)) as link:
            await Caller(session, hub.person).ask("PUT", f"{ROWS}/r", {"body": {}})
            async with asyncio.timeout(30):
                assert "news" in await link.receive_str()


async def test_the_command_line_lists_shows_and_decides(short_dir: Path) -> None:
    (short_dir / "home").mkdir()
    async with installation(short_dir, BY_SECRET) as site:
        await lists_shows_and_decides(Shell(site, short_dir / "home"))


async def lists_shows_and_decides(shell: Shell) -> None:
    token = (shell.site.hub.directory / "admin.token").read_text().strip()
    async with in_conflict(RunningHub(shell.site.hub.url, token)):
        listed = await shell.run("sync", "conflicts")
        assert listed.lines[1].split()[:4] == ["recipe", "r", "n-b", "change"]
        shown = await shell.run("sync", "show", "recipe", "r", "-o", "json")
        assert shown.json["waiting"][0]["body"] == {"n": "b"}  # type: ignore[index,call-overload]
        table = await shell.run("sync", "show", "recipe", "r")
        assert '{"n":0}' in table.out
        unclear = await shell.run("sync", "resolve", "recipe", "r")
        assert (unclear.code, "say one of" in unclear.err) == (2, True)
        body = shell.home / "row.json"
        body.write_text('{"n": "both"}\n')
        done = await shell.run("sync", "resolve", "recipe", "r", "--body", str(body), "-o", "json")
        assert (done.code, done.json["id"]) == (0, "r")  # type: ignore[index,call-overload]
        assert (await shell.run("sync", "conflicts")).err.startswith("skerry: no edit waits")
        decided = (await shell.run("sync", "conflicts", "--decided")).out.split()
        assert decided[6:8] + decided[9:11] == ["recipe", "r", "hub", "admin"]
