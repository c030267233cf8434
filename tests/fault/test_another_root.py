"""The fleet's root is changed under a real node: it goes on without a break, is killed meanwhile, and loses nothing."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.installation import Node, installation, sleeper

from skerry.kit.disk import RealDisk
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.trust.files import TrustFiles
from skerry.testing.waiting import eventually
from skerry.wire.records import PublishedRecord

pytestmark = pytest.mark.timeout(180)


async def publish(node: Node, *values: int) -> None:
    records = [PublishedRecord("t.value", value, value) for value in values]
    await asyncio.to_thread(node.publisher("feeder").publish, "measurement", records, 30.0)


def roots_of(node: Node) -> list[str]:
    return TrustFiles(node.directory, RealDisk(), NullCipher()).bundle().roots


@pytest.mark.guarantee("G1")
async def test_another_root_while_a_node_lives_and_one_is_away(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        shell = CommandLine(site)
        node = await site.started(sleeper("feeder"))
        away = site.node("n2")
        await away.enrol(site.hub)
        await eventually(lambda: node.link_is("online"), "the node is online")
        pids = await node.pids()
        await publish(node, 1)

        begun = await shell.run("hub", "ca", "rotate")
        assert begun.code == 0, begun.err
        await eventually(lambda: len(roots_of(node)) == 2, "the node believes both")
        refused = await shell.run("hub", "ca", "rotate", "--finish")
        assert refused.code == 1
        assert "n2" in refused.err
        await node.kill()
        await node.start()
        await eventually(lambda: node.link_is("online"), "it is online again")
        await publish(node, 2)
        await away.start()
        await eventually(lambda: len(roots_of(away)) == 2, "the other one believes both, too")
        await eventually(lambda: away.link_is("online"), "the other one is online")

        finished = await shell.run("hub", "ca", "rotate", "--finish")
        assert finished.code == 0, finished.err
        await publish(node, 3)
        await site.hub.kill()
        await publish(node, 4)
        await site.hub.start()
        for each in (node, away):
            await eventually(partial(each.link_is, "online"), f"{each.name} knows the hub")
        await eventually(lambda: site.hub.has("t.value", 4), "every value is there")
        rows = await site.hub.rows("t.value")
        assert sorted(row.value for row in rows) == [1, 2, 3, 4]
        assert await node.pids() == pids
