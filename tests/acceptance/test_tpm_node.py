"""A whole node whose key is in its TPM: enrolled, restarted, renewed by another TPM never, and enrolled again."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.installation import Hub, Node, installation, sleeper
from tests.software_tpm import software_tpm

from skerry.testing.waiting import eventually
from skerry.wire.people import TokenReply, TokenRequest
from skerry.wire.records import PublishedRecord

pytestmark = pytest.mark.timeout(240)

TPM = ["--set", "trust.key=tpm"]


@contextlib.contextmanager
def device_tpm(directory: Path, name: str) -> Iterator[None]:
    """From power on to power off."""
    state = directory / f"tpm-{name}"
    state.mkdir(exist_ok=True)
    with software_tpm(state):
        yield


async def publish(node: Node, value: int) -> None:
    record = PublishedRecord("t.value", value, value)
    await asyncio.to_thread(node.publisher("feeder").publish, "measurement", [record], 60.0)


async def says(shell: CommandLine, words: str) -> bool:
    return words in (await shell.run("node", "status")).out


async def token_of(hub: Hub) -> bytes:
    async with hub.api() as api:
        reply = await api.send("POST", "/api/v1/tokens", TokenRequest(), TokenReply)
    return reply.token.encode()


@pytest.mark.guarantee("G9")
async def test_a_node_whose_key_is_in_its_tpm(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        shell, node, counter = CommandLine(site), site.node("n1"), itertools.count(1)
        node.options += TPM
        words = (
            "node", "enroll", "--hub", site.hub.nodes_url, "--data-dir", str(node.directory),
            "--config", str(shell.file("node.yaml", "trust: {key: tpm}\n")),
        )  # fmt: skip

        async def works() -> None:
            """The link stands, and what the device measures arrives."""
            await eventually(partial(node.link_is, "online"), "the node is online")
            count = next(counter)
            await publish(node, count)
            await eventually(lambda: site.hub.has("t.value", count), "the value arrives")

        with device_tpm(tidy_dir, "own"):
            enrolled = await shell.run(*words, stdin=await token_of(site.hub))
            assert (enrolled.code, enrolled.err) == (0, "")
            assert b"BEGIN TSS2 PRIVATE KEY" in (node.directory / "trust/node.pem").read_bytes()
            await site.hub.apply(sleeper("feeder"))
            await node.start()
            await eventually(partial(node.runs, "feeder"), "it runs")
            await works()
            assert node.process.process is not None
            maps = Path(f"/proc/{node.process.process.pid}/maps").read_text()
            assert "cryptography" not in maps  # 9 MB
            found = json.loads((await shell.run("doctor", "--security", "-o", "json")).out)
            [key] = [check for check in found["checks"] if check["name"] == "this node's key"]
            assert (key["outcome"], "TPM" in key["detail"]) == ("ok", True)
            await node.process.end()
        with device_tpm(tidy_dir, "own"):  # as after a reboot
            await node.start()
            await eventually(partial(node.runs, "feeder"), "it runs")
            await works()
            await node.process.end()

        with device_tpm(tidy_dir, "another"):
            await node.start()
            await eventually(partial(node.runs, "feeder"), "it runs without the hub")
            await eventually(partial(says, shell, "cannot use the TPM"), "the cause is told")
            assert await says(shell, "skerry node enroll --again")
            await node.process.end()
            again = await shell.run(*words, "--again", stdin=await token_of(site.hub))
            assert (again.code, again.err) == (0, "")
            await node.start()
            await eventually(partial(node.runs, "feeder"), "it runs")
            await works()
            await node.process.end()


async def test_a_node_with_a_key_in_a_file_does_not_pass_for_one_with_a_tpm(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        node = site.node("n1")
        await node.enrol(site.hub)
        node.options += TPM
        await node.start()
        assert node.process.process is not None
        assert await node.process.process.wait() != 0
        assert "trust.key is tpm, and the key is one in a file" in node.log.read_text()
        assert "skerry node enroll --again" in node.log.read_text()
