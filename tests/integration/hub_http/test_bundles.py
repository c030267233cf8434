"""Diagnostics bundles through a real hub and a node's live link: whole, or cut off; one at a time; to whom they are for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp
import pytest
from tests.http_client import Client, problem, text_of
from tests.postgres import Postgres
from tests.tunnel_rig import Entered, linked

from skerry.keeper.procfs import read_stat
from skerry.node.access.bundles import Bundles
from skerry.node.channel_port import ChannelService, ServedChannel
from skerry.testing.running_hub import EnrolledNode, RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.access import RoleRequest
from skerry.wire.bundles import MOST_BYTES
from skerry.wire.codec import encode

PATH = "/api/devices/a/diagnostics"
MUCH = 3_000_001
Services = dict[str, Callable[[], ChannelService]]


def made_by(program: str, held: str = "", entered: Entered | None = None) -> Services:
    bundles = Bundles([sys.executable, "-c", program], lambda: held, entered or Entered())
    return {"diagnostics": lambda: bundles.serve}


def writes(size: int, then: str = "") -> str:
    return f"import sys; sys.stdout.write('x' * {size}); sys.stdout.flush(); {then}"


async def test_its_bytes_come_as_they_are(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    async with (
        linked(hub, node, services=made_by(writes(MUCH))),
        client.get(PATH, headers=hub.person) as response,
    ):
        assert (response.status, response.content_type) == (200, "application/zstd")
        assert response.headers["Cache-Control"] == "no-store"
        assert await response.read() == b"x" * MUCH


@pytest.mark.parametrize(
    ("services", "words"),
    [
        ({}, "cannot open channel: this node knows no kind «diagnostics»"),
        (
            made_by("import sys; sys.exit('skerry: cannot look into /n: there is no node there')"),
            "cannot make a diagnostics bundle: cannot look into /n: there is no node there",
        ),
        (made_by("", "a modem"), "only high priority goes over the link now: a modem"),
        (made_by(""), "the node sent nothing"),
    ],
)
async def test_why_there_is_none_is_told(
    hub: RunningHub, node: EnrolledNode, client: Client, services: Services, words: str
) -> None:
    async with (
        linked(hub, node, services=services),
        client.get(PATH, headers=hub.person) as response,
    ):
        assert response.status >= 400
        assert words in (await response.json())["error"]


async def test_the_node_enters_who_gets_one_and_what_came_of_it(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    entered = Entered()
    waits = writes(1, "sys.stdin.close(); import time; time.sleep(1000)")
    ann = await hub.access_token("ann", "admin")

    def told() -> list[tuple[str, str, int]]:
        return [(each.action, each.detail, each.status) for each in entered.deeds]

    async with linked(hub, node, services=made_by(writes(1), entered=entered)):
        async with client.get(PATH, headers=ann) as whole:
            assert await whole.read() == b"x"
        await eventually(lambda: len(entered.deeds) == 2, "the outcome is entered")
    async with linked(hub, node, services=made_by(waits, entered=entered)):
        async with client.get(PATH, headers=ann) as cut:
            assert await cut.content.readexactly(1) == b"x"
            await problem(client, "GET", PATH, 409, hub.person)
        await eventually(lambda: len(entered.deeds) == 5, "the outcome is entered")
    assert {(each.actor, each.origin) for each in entered.deeds} == {("hub", "live link")}
    busy = "for «admin», cannot make a diagnostics bundle: the node is making one for somebody. Try again in a minute."
    assert told() == [
        ("fetch_diagnostics", "for «ann»", 0),
        ("fetch_diagnostics", "for «ann»", 200),
        ("fetch_diagnostics", "for «ann»", 0),
        ("fetch_diagnostics", busy, 409),
        ("fetch_diagnostics", "for «ann»", 503),
    ]


async def test_of_a_node_that_is_offline_the_hub_says_so(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    assert "no live link" in await problem(client, "GET", PATH, 503, hub.person)
    assert "there is no node «b»" in await problem(
        client, "GET", "/api/devices/b/diagnostics", 404, hub.person
    )


async def sends_for_ever(channel: ServedChannel) -> None:
    await channel.accept()
    while True:
        await channel.send(bytes(32768))


@pytest.mark.parametrize(
    "services",
    [
        made_by(writes(MUCH, "sys.exit('the disk is gone')")),
        made_by(writes(MOST_BYTES + 1)),
        {"diagnostics": lambda: sends_for_ever},
    ],
)
async def test_what_is_not_whole_is_cut_off(
    hub: RunningHub, node: EnrolledNode, client: Client, services: Services
) -> None:
    async with (
        linked(hub, node, services=services),
        client.get(PATH, headers=hub.person) as response,
    ):
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await response.read()
        assert response.content.total_bytes <= MOST_BYTES
    assert (await client.get("/healthz")).status == 200


async def test_a_node_makes_one_at_a_time_and_none_for_who_has_gone(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    waits = writes(1, "sys.stdin.close(); import time; time.sleep(1000)")
    async with linked(hub, node, services=made_by(waits)):
        async with client.get(PATH, headers=hub.person) as first:
            assert await first.content.readexactly(1) == b"x"
            words = await problem(client, "GET", PATH, 409, hub.person)
            assert "the node is making one for somebody" in words
        async with asyncio.timeout(60):
            status = 409
            while status == 409:
                async with client.get(PATH, headers=hub.person) as again:
                    status = again.status
        assert status == 200


class Stuck:
    """A channel whose other side takes nothing: implements `ServedChannel`."""

    arguments: Mapping[str, str] = {}

    async def accept(self) -> None: ...

    async def send(self, data: bytes, stream: int = 0) -> None:  # noqa: ARG002
        await asyncio.Event().wait()

    async def end(self) -> None: ...

    async def receive(self) -> tuple[bytes, int] | None:
        return None


async def test_what_nobody_takes_ends_with_the_link(tmp_path: Path) -> None:
    """With its children, and although more is waiting in its pipe than anybody has read."""
    started = tmp_path / "started"
    program = (
        "import os, subprocess; child = subprocess.Popen(['sleep', '1000']); "
        f"open({str(tmp_path / 'new')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); "
        f"os.rename({str(tmp_path / 'new')!r}, {str(started)!r}); "
    )
    bundles = Bundles([sys.executable, "-c", program + writes(MUCH)], lambda: "", Entered())
    serving = asyncio.ensure_future(bundles.serve(Stuck()))
    await eventually(started.exists, "it has begun")
    pids = [int(word) for word in started.read_text().split()]
    await eventually(
        lambda: "pipe" in Path(f"/proc/{pids[0]}/wchan").read_text(), "its pipe is full"
    )
    serving.cancel()
    done, _ = await asyncio.wait([serving], timeout=30)
    assert done

    def is_over() -> bool:
        found = map(read_stat, pids)
        return not any(stat is not None and stat.lives for stat in found)

    await eventually(is_over, "neither of them lives")


@pytest.mark.guarantee("G9")
async def test_it_is_for_who_may_configure_this_device(
    hub: RunningHub, node: EnrolledNode, client: Client
) -> None:
    lab = await hub.enrol("lab-1", {"site": "lab"})
    for name, words in (("lab", ["configure"]), ("night", ["read", "write", "execute"])):
        role = encode(RoleRequest(name, words, {"site": "lab"}))
        await text_of(client, "POST", "/api/v1/access/roles", 200, hub.person, role)
    ann, eve = await hub.access_token("ann", "lab"), await hub.access_token("eve", "night")
    own = "/api/devices/lab-1/diagnostics"
    async with linked(hub, lab, services=made_by(writes(5))), linked(hub, node):
        assert await text_of(client, "GET", own, 200, ann) == "xxxxx"
        assert "permission configure" in await problem(client, "GET", own, 403, eve)
        hidden = await problem(client, "GET", PATH, 404, ann)
        nowhere = await problem(client, "GET", "/api/devices/nowhere/diagnostics", 404, ann)
    assert hidden.replace("«a»", "…") == nowhere.replace("«nowhere»", "…")


@pytest.mark.postgres
async def test_another_hub_process_asks_the_one_that_has_the_link(
    postgres: Postgres, tmp_path: Path
) -> None:
    said = [
        writes(MUCH),
        writes(MUCH, "sys.exit('the disk is gone')"),
        "import sys; sys.exit('no disk')",
    ]

    async def serve(channel: ServedChannel) -> None:
        await made_by(said.pop(0))["diagnostics"]()(channel)

    with postgres.database() as url:
        async with (
            running_hub(tmp_path, database=url) as hub,
            running_hub(tmp_path, database=url) as second,
            aiohttp.ClientSession(second.address) as other,
        ):
            node = await hub.enrol("a")

            async def come() -> bool:
                async with other.get(PATH, headers=hub.person) as response:
                    if response.status == 503:
                        return False
                    assert (response.status, len(await response.read())) == (200, MUCH)
                    return True

            async with linked(hub, node, services={"diagnostics": lambda: serve}):
                await eventually(come, "the other hub knows who has the link")
                async with other.get(PATH, headers=hub.person) as response:
                    assert response.status == 200
                    with pytest.raises(aiohttp.ClientError):
                        await response.read()
                assert "no disk" in await problem(other, "GET", PATH, 409, hub.person)
