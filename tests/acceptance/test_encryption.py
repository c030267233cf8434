"""A whole node with encryption at rest: what is on its disk, what `doctor` says, rotation, and a start without its key."""

import asyncio
import sys
from pathlib import Path

import pytest
from tests.canary import CANARY, ids_in_use, keys_of_blobs
from tests.files_in_use import contents
from tests.installation import Node, installation, sleeper

from skerry.cli.http import node_api
from skerry.kit.sealing.format import is_sealed, key_id_of
from skerry.sdk.client import Client
from skerry.sdk.content import Content
from skerry.testing.waiting import eventually
from skerry.wire.local import Doctor, KeyStatus
from skerry.wire.records import PublishedRecord

ON = ["--set", "encryption.storage.enabled=true"]


def readable(directory: Path) -> list[str]:
    """Files with the canary in it, but for the homes and logs of workloads."""
    return [
        str(path.relative_to(directory))
        for path, content in contents(directory)
        if path.relative_to(directory).parts[0] not in {"logs", "workloads"}
        and CANARY.encode() in content
    ]


async def keys(node: Node) -> KeyStatus:
    async with node_api(node.directory) as api:
        return await api.get("/v1/keys", KeyStatus)


async def command(*words: str, given: str = "") -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "skerry.cli.main", *words,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate(given.encode())
    assert process.returncode is not None
    return process.returncode, out.decode()


def publish(client: Client, first: int) -> None:
    records = [
        PublishedRecord("t.value", f"{CANARY} {number}", number, {"note": CANARY})
        for number in range(first, first + 50)
    ]
    client.publish("measurement", records, 30.0)


def upload(client: Client, number: int) -> None:
    record = PublishedRecord("cam/front", "", number, {"note": CANARY})
    client.upload(Content(f"{CANARY} {number} ".encode() * 20_000), record, 30.0)


@pytest.mark.timeout(120)
async def test_a_node_that_encrypts(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = site.node()
        await node.enrol(site.hub)
        await site.hub.apply(sleeper("feeder", env={"TOKEN": CANARY}))
        await node.start()
        await node.ready()
        await eventually(lambda: node.runs("feeder"), "it runs")
        client = node.publisher("feeder")
        await asyncio.to_thread(publish, client, 0)
        await asyncio.to_thread(upload, client, 1)
        assert any(path.startswith("files/") for path in readable(node.directory))
        pids = await node.pids()
        await node.process.end()

        node.options += ON
        await node.start()
        await node.ready()
        await eventually(lambda: sealed(node), "everything is sealed")
        await asyncio.to_thread(publish, client, 50)
        await asyncio.to_thread(upload, client, 2)
        assert readable(node.directory) == []
        assert await node.pids() == pids
        await eventually(lambda: site.hub.has("t.value", 100), "all values arrive")

        old = {int(key.id, 16) for key in (await keys(node)).keys}
        code, said = await command("node", "key", "rotate", "--data-dir", str(node.directory))
        assert (code, "new keys are being made" in said) == (0, True), said
        await eventually(lambda: rotated(node, old), "the old keys are gone")
        assert not (ids_in_use(node.directory) | keys_of_blobs(node.directory)) & old
        own = (node.directory / "trust/node.pem").read_bytes()
        assert is_sealed(own)
        assert key_id_of(own) not in old
        code, said = await command("node", "key", "status", "--data-dir", str(node.directory))
        assert code == 0
        assert "AES-256-GCM, keys sealed by software key beside the data" in said
        async with node_api(node.directory) as api:
            checks = {each.name: each for each in (await api.get("/v1/doctor", Doctor)).checks}
        assert checks["encryption"].outcome == "warning"
        assert checks["store"].outcome == "ok"

        await node.process.end()
        key = node.directory / "storage.key"
        key.rename(short_dir / "key")
        await node.start()
        assert node.process.process is not None
        assert await node.process.process.wait() == 1
        assert "Nothing was touched: put it back" in node.log.read_text()
        (short_dir / "key").rename(key)
        await node.start()
        await node.ready()
        assert await node.pids() == pids
        assert not list(node.directory.glob("*.damaged"))
        await eventually(lambda: node.link_is("online"), "its own key opens, too")


async def test_another_passphrase_while_the_node_works(short_dir: Path) -> None:
    phrase = short_dir / "phrase"
    phrase.write_text("correct horse battery staple\n")
    phrase.chmod(0o600)
    async with installation(short_dir) as site:
        node = site.node()
        await node.enrol(site.hub)
        node.options += [*ON, "--set", f"encryption.storage.key=passphrase:{phrase}"]
        await node.start()
        await node.ready()
        words = ("node", "key", "passphrase", "--data-dir", str(node.directory))
        code, said = await command(*words, given="short\n")
        assert (code, "shorter than 12 bytes" in said) == (1, True), said
        code, said = await command(*words, given="wrong horse generator paperclip\n")
        assert (code, "the old one opens nothing any more" in said) == (0, True), said
        assert phrase.read_text() == "wrong horse generator paperclip\n"
        assert "horse" not in node.log.read_text()
        await node.process.end()
        await node.start()
        await node.ready()
        assert not (await keys(node)).passphrase_waits


async def sealed(node: Node) -> bool:
    status = await keys(node)
    return status.enabled and not status.plain


async def rotated(node: Node, old: set[int]) -> bool:
    now = {int(key.id, 16) for key in (await keys(node)).keys}
    return bool(now) and not now & old
