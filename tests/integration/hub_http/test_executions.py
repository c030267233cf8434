"""Commands in workloads through a real hub, a node's live link and a real keeper: apart, whole, entered, ended in time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.http_client import Client
from tests.hub_execution_rig import OneWorkload, Person, asked, launched, shell
from tests.tunnel_rig import Entered, linked

from skerry.core.audit_entries import Deed
from skerry.hub.api import carrying
from skerry.kit.errors import Refused
from skerry.node.access.executions import Executions
from skerry.testing.running_hub import EnrolledNode, RunningHub
from skerry.testing.waiting import eventually
from skerry.wire.audit import AuditPage
from skerry.wire.codec import decode, encode
from skerry.wire.executions import STDERR, STDIN, STDOUT, Ending, Wish
from skerry.wire.link import (
    WINDOW,
    Bytes,
    End,
    to_frame,
    to_text,
)

pytestmark = pytest.mark.guarantee("G9")


@pytest.fixture
async def workload(short_dir: Path) -> AsyncIterator[OneWorkload]:
    async with launched(short_dir) as one:
        yield one


@pytest.fixture
async def entered(
    hub: RunningHub, node: EnrolledNode, workload: OneWorkload
) -> AsyncIterator[Entered]:
    entered = Entered()
    service = Executions(workload, entered, lambda: "")
    async with linked(hub, node, services={"exec": lambda: service.serve}):
        yield entered


@pytest.mark.usefixtures("entered")
async def test_streams_are_apart_and_the_ending_is_told(hub: RunningHub, client: Client) -> None:
    async with asked(client, hub.person, shell("cat; echo err >&2; exit 7", stdin=True)) as person:
        await person.socket.send_bytes(to_frame(Bytes(0, b"in", STDIN)))
        await person.socket.send_str(to_text(End(0)))
        await person.rest()
    assert person.streams == {STDOUT: b"in", STDERR: b"err\n"}
    assert (person.ending, person.words) == (Ending(7), "")


@pytest.mark.usefixtures("entered")
async def test_who_reads_late_gets_everything_and_nobody_keeps_it_meanwhile(
    hub: RunningHub, client: Client
) -> None:
    """It waits in the command itself: what is under way has a window on each side, and the sockets' buffers."""
    much = 200 * WINDOW
    wish = shell(f"head -c {much} /dev/zero; echo done >&2; echo over > done")
    async with asked(client, hub.person, wish) as person:
        await person.until(b"\0")
        async with asked(client, hub.person, shell("test ! -e done && echo not yet")) as other:
            await other.until(b"not yet")
        await person.rest()
    assert len(person.streams[STDOUT]) == much
    assert (person.ending, bytes(person.streams[STDERR])) == (Ending(0), b"done\n")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "CHECK_EVERY", 0.1)


@pytest.mark.usefixtures("often", "entered")
@pytest.mark.parametrize("end", ["token", "node", "person"])
async def test_a_command_ends_with_the_right_to_it(
    hub: RunningHub, client: Client, workload: OneWorkload, end: str
) -> None:
    instance = workload.launch.instance
    before = workload.device.processes(instance)
    ann = await hub.access_token("ann", "operator")
    async with asked(client, ann, shell("setsid sleep 1000 & echo up; exec sleep 1000")) as person:
        await person.until(b"up")
        await eventually(  # what is just being started (in execve) has no environment for a moment
            lambda: len(workload.device.processes(instance)) == len(before) + 2, "both run"
        )
        match end:
            case "token":
                path = "/api/v1/access/tokens/ann"
            case "node":
                path = "/api/v1/nodes/a"
            case _:
                path = ""
        if path:
            async with client.delete(path, headers=hub.person) as response:
                assert response.status == 200
            await person.rest()
            assert person.ending is None
            assert person.words
        else:
            await person.socket.close()
        await eventually(
            lambda: workload.device.processes(instance) == before, "nothing of it is left"
        )


async def test_audit_logs_tell_who_where_and_which_program(
    hub: RunningHub, client: Client, entered: Entered
) -> None:
    ann = await hub.access_token("ann", "operator")
    async with asked(client, ann, shell("exit 3 # canary-argument")) as person:
        await person.rest()
    found: list[tuple[str, str, str]] = []

    async def told() -> bool:
        async with client.get("/api/v1/audit?after=0&limit=100", headers=hub.person) as response:
            text = await response.read()
        assert b"canary" not in text
        page = decode(text, AuditPage, "page")
        entries = [row.entry for row in page.entries if row.entry.actor == "ann"]
        found[:] = [(each.outcome, each.object, each.detail) for each in entries]
        return len(found) == 2

    await eventually(told, "both entries are there")
    path = "/api/v1/nodes/a/exec/w"
    assert found[0] == ("begun", path, "")
    assert found[1][:2] == ("done", path)
    assert "program «sh»: exit code 3" in found[1][2]
    begun, ended = entered.deeds
    assert (begun.actor, begun.object, begun.detail) == ("hub", "w", "for «ann», program «sh»")
    assert ended.detail == "for «ann», program «sh»: exit code 3"


@pytest.mark.usefixtures("entered")
async def test_nobody_says_who_he_is_or_what_he_may(
    hub: RunningHub, client: Client, workload: OneWorkload
) -> None:
    """Not even with the header by which hub processes pass on what people say."""
    bob = await hub.access_token("bob", "operator")
    lie = Wish(["true"], by="ann", writes=True)
    for headers in (bob, bob | {"Skerry-Forwarded": "1"}):
        async with asked(client, headers, lie) as person:
            await person.rest()
        assert person.ending == Ending(0)
        wish = workload.wishes.pop()
        assert (wish.by, wish.writes) == ("bob", False)
    async with asked(client, hub.person, lie) as person:
        await person.rest()
    wish = workload.wishes.pop()
    assert (wish.by, wish.writes) == ("admin", True)


@pytest.mark.usefixtures("entered")
async def test_only_who_may_execute_has_commands_run(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    monitor = await hub.access_token("eve", "monitor")
    for headers in (monitor, {}, hub.node(node)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with asked(client, headers, shell("true")):
                pass
        assert refused.value.status == 403


@pytest.mark.usefixtures("entered")
@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("{}", "cannot read command for a workload"),
        (encode(Wish([])).decode(), "there is none"),
        (encode(Wish(["x" * 70_000])).decode(), "at most 65536 can be sent"),
        (encode(Wish(["a\0b"])).decode(), "NUL"),
    ],
)
async def test_what_is_no_command_is_refused_in_words(
    hub: RunningHub, client: Client, first: str, words: str
) -> None:
    async with client.ws_connect("/api/v1/nodes/a/exec/w", headers=hub.person) as socket:
        await socket.send_str(first)
        person = Person(socket)
        await person.rest()
    assert person.words is not None
    assert words in person.words


@pytest.mark.usefixtures("entered")
async def test_a_node_has_so_many_commands_at_a_time(hub: RunningHub, client: Client) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(16):
            person = await stack.enter_async_context(
                asked(client, hub.person, shell("echo up; exec sleep 1000"))
            )
            await person.until(b"up")
        last = await stack.enter_async_context(asked(client, hub.person, shell("true")))
        await last.rest()
        assert last.words
        assert "16 run on this node" in last.words


async def test_nothing_is_run_that_cannot_be_entered(
    hub: RunningHub, client: Client, entered: Entered, workload: OneWorkload
) -> None:
    async def cannot(_deed: Deed) -> int:
        raise Refused("the disk is full")

    entered.begun = cannot  # type: ignore[method-assign]
    async with asked(client, hub.person, shell("true")) as person:
        await person.rest()
    assert person.words == "the disk is full"
    assert workload.wishes == []


async def test_a_link_for_high_priority_only_refuses(
    hub: RunningHub, node: EnrolledNode, client: Client, workload: OneWorkload
) -> None:
    service = Executions(workload, Entered(), lambda: "a modem")
    async with (
        linked(hub, node, services={"exec": lambda: service.serve}),
        asked(client, hub.person, shell("true")) as person,
    ):
        await person.rest()
    assert person.words
    assert "only high priority goes over the link now: a modem" in person.words
