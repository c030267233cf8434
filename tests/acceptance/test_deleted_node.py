"""A node that the hub deletes: refused at once, told clearly, its workloads go on, and it may come back as itself."""

import asyncio
import json
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.command_line import CommandLine
from tests.installation import Node, installation, sleeper

from skerry.node.identity import IDENTITY_FILE
from skerry.testing.waiting import eventually
from skerry.wire.people import TokenReply, TokenRequest
from skerry.wire.records import PublishedRecord
from skerry.wire.workload import Selector

pytestmark = pytest.mark.timeout(120)


async def publish(node: Node, value: int) -> None:
    record = PublishedRecord("t.value", value, value)
    await asyncio.to_thread(node.publisher("feeder").publish, "measurement", [record], 60.0)


@pytest.mark.guarantee("G9")
async def test_a_deleted_node_is_told_and_may_come_back(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        here = msgspec.structs.replace(sleeper("feeder"), on=Selector(node="n1"))
        node = await site.started(here)
        await publish(node, 1)
        await eventually(lambda: site.hub.has("t.value", 1), "the value arrives")
        pids = await node.pids()
        shell = CommandLine(site)

        deleted = await shell.run("delete", "node", "n1", "-o", "json")
        found = json.loads(deleted.out)
        assert (found["node"], found["pinned"]) == ("n1", ["feeder"])
        again = await shell.run("delete", "node", "n1")
        assert (again.code, again.err) == (
            1, "skerry: cannot delete node «n1»: it does not exist; there are none yet\n",
        )  # fmt: skip
        await eventually(partial(is_unknown, node), "the node knows")
        status = await shell.run("node", "status")
        assert "does not know this node" in status.out
        assert "problem   enrolment: " in status.out
        doctor = await shell.run("doctor")
        assert doctor.code == 1
        assert "skerry node enroll --again" in doctor.out
        await publish(node, 2)
        assert await node.pids() == pids
        records = await shell.run("query", "t.value", "--node", found["id"], "-o", "json")
        assert len(json.loads(records.out)) == 1

        async with site.hub.api() as api:
            token = (await api.send("POST", "/api/v1/tokens", TokenRequest(), TokenReply)).token
        words = ("node", "enroll", "--hub", site.hub.nodes_url, "--data-dir", str(node.directory))
        plain = await shell.run(*words, stdin=token.encode())
        assert plain.code == 1
        assert "or --again if the hub has deleted this one" in plain.err
        identity = (node.directory / IDENTITY_FILE).read_bytes()
        beside = await shell.run(*words, "--again", stdin=token.encode())
        assert beside.code == 1
        assert "would go on as what it was. Stop it first: skerry node stop" in beside.err
        assert (node.directory / IDENTITY_FILE).read_bytes() == identity
        assert await node.process.end() == 0
        back = await shell.run(*words, "--again", stdin=token.encode())
        assert (back.code, back.err) == (0, "")
        assert "this is now node «n1»" in back.out
        await node.start()
        await eventually(lambda: node.link_is("online"), "the node is online")
        await eventually(lambda: site.hub.has("t.value", 2), "both values are there, each once")
        await eventually(partial(succeeds, node), "everything is synced")
        records = await shell.run("query", "t.value", "--node", found["id"], "-o", "json")
        assert [row["value"] for row in json.loads(records.out)] == [1, 2]
        assert await node.pids() == pids


async def succeeds(node: Node) -> bool:
    return (await node.sync()).result == "success"


async def is_unknown(node: Node) -> bool:
    status = await node.status()
    return status is not None and status.link.unknown
