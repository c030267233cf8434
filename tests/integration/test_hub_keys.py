"""Encryption at rest of a running hub: by API and command line, on SQLite, and for two hubs on one PostgreSQL."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import Connection
from tests.hub_rig import HubRig
from tests.model_cases import sha256
from tests.postgres import Postgres
from tests.sealed_hub import CANARY, key_ids, raw, rotation, wish

from skerry.hub.fleet.models import write_models
from skerry.hub.settings import StorageEncryption
from skerry.kit.errors import Refused, Transient
from skerry.testing.manual_clock import ManualClock
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode, encode
from skerry.wire.local import KeyStatus
from skerry.wire.models import ModelFile, ModelSource, ModelSpec
from skerry.wire.people import Apply, WorkloadView
from skerry.wire.workload import ProcessSpec, WorkloadSpec

ON = StorageEncryption(enabled=True)
BLOB = CANARY.encode() * 100


async def ask(hub: RunningHub, method: str, path: str, body: object = None) -> bytes:
    async with (
        aiohttp.ClientSession(hub.address, headers=hub.person) as session,
        session.request(
            method, path, data=body if isinstance(body, bytes) else encode(body)
        ) as answer,
    ):
        assert answer.status < 300, await answer.text()
        return await answer.read()


async def keys(hub: RunningHub) -> KeyStatus:
    return decode(await ask(hub, "GET", "/api/v1/keys"), KeyStatus, "keys")


async def is_at_rest(hub: RunningHub) -> bool:
    status = await keys(hub)
    return not status.plain and len(status.keys) == 1


async def apply(hub: RunningHub, name: str) -> None:
    spec = WorkloadSpec(name=name, process=ProcessSpec(command=["true"]), env={"TOKEN": CANARY})
    await ask(hub, "PUT", "/api/v1/workloads", Apply([spec]))


async def environments(hub: RunningHub) -> dict[str, str]:
    views = decode(await ask(hub, "GET", "/api/v1/workloads"), list[WorkloadView], "workloads")
    return {view.name: view.spec.env["TOKEN"] for view in views}


async def command(hub: RunningHub, directory: Path, *words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "skerry.cli.main", *words,
        "--hub", hub.address, "--token-file", str(directory / "admin.token"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.mark.guarantee("G10")
async def test_a_hub_that_encrypts(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub:
        assert not (await keys(hub)).enabled
        await apply(hub, "a")
        await ask(hub, "PUT", f"/api/v1/blobs/{sha256(BLOB)}?offset=0&size={len(BLOB)}", BLOB)
        code, said = await command(hub, tmp_path, "hub", "key", "rotate")
        assert code != 0
        assert "encryption is off on this hub" in said
    assert readable(tmp_path) == {"hub.db", sha256(BLOB)[2:]}

    async with running_hub(tmp_path, encryption=ON) as hub:
        await eventually(lambda: is_at_rest(hub), "everything is sealed")
        await apply(hub, "b")
        assert readable(tmp_path) == set()
        assert await environments(hub) == {"a": CANARY, "b": CANARY}
        [old] = (await keys(hub)).keys
        code, said = await command(hub, tmp_path, "hub", "key", "rotate")
        assert (code, "a new key is in force" in said) == (0, True), said
        await eventually(lambda: is_at_rest(hub), "the old key is gone")
        assert (await keys(hub)).keys[0].id != old.id
        code, said = await command(hub, tmp_path, "hub", "key", "status")
        assert "AES-256-GCM, keys sealed by software key beside the data" in said
        state = await ask(hub, "GET", f"/api/v1/blobs/{sha256(BLOB)}")
        assert b'"complete":true' in state
        async with aiohttp.ClientSession(hub.address) as nobody:
            assert (await nobody.get("/api/v1/keys")).status == 401
            assert (await nobody.post("/api/v1/keys/rotate")).status == 401
    with pytest.raises(Refused, match="encryption switched off"):
        async with running_hub(tmp_path):
            pass


def readable(directory: Path) -> set[str]:
    """The names of files with the canary in them."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.name for path in files if CANARY.encode() in path.read_bytes()}


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database() as address:
        yield address


@pytest.mark.postgres
@pytest.mark.timeout(90)
async def test_two_hubs_with_one_key(tmp_path: Path, url: str) -> None:
    shared, other = tmp_path / "shared", tmp_path / "other"
    async with running_hub(shared, database=url):
        with pytest.raises(Refused, match="cannot switch encryption on for .*: the hub at http"):
            async with running_hub(shared, database=url, encryption=ON):
                pass
    async with running_hub(shared, database=url, encryption=ON) as one:
        await apply(one, "a")
        with pytest.raises(Refused, match="encryption switched off"):
            async with running_hub(shared, database=url):
                pass
        other.mkdir()
        (other / "storage.key").write_text("00" * 32)
        (other / "storage.key").chmod(0o600)
        with pytest.raises(Refused, match="another key-encryption key than this hub was given"):
            async with running_hub(other, database=url, encryption=ON):
                pass
        moved = StorageEncryption(enabled=True, key=f"file:{tmp_path}/moved")
        with pytest.raises(Refused, match="cannot change the key-encryption key of .*: the hub at"):
            async with running_hub(shared, database=url, encryption=moved):
                pass
        async with running_hub(shared, database=url, encryption=ON) as two:
            await eventually(lambda: is_at_rest(two), "everything is sealed")
            for hub in (one, two, one):
                [old] = (await keys(hub)).keys
                await ask(hub, "POST", "/api/v1/keys/rotate")
                for name, each in (("b", one), ("c", two)):
                    await apply(each, name)
                for each in (one, two):
                    await eventually(lambda each=each: is_at_rest(each), "it is gone")
                    assert (await keys(each)).keys[0].id != old.id
                    assert await environments(each) == dict.fromkeys("abc", CANARY)
            assert (await keys(one)).keys[0].id == (await keys(two)).keys[0].id
            assert not (await keys(one)).beside
            assert CANARY.encode() not in raw(url)
    async with running_hub(shared, database=url, encryption=moved) as hub:
        assert await environments(hub) == dict.fromkeys("abc", CANARY)
        assert f"software key in {tmp_path}/moved" in str(await keys(hub))


@pytest.mark.postgres
async def test_nobody_seals_with_a_key_that_is_gone(
    tmp_path: Path, url: str, manual_clock: ManualClock
) -> None:
    one, two = (HubRig(url, manual_clock, wish(tmp_path)) for _ in range(2))
    for hub in (one, two):
        await hub.start()
    sealed, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        write_models(connection, [model("slow")], 1)
        sealed.set()
        assert go_on.wait(60)

    try:
        await rotation(one).once()
        writing = asyncio.create_task(two.store.write(slow))
        await asyncio.to_thread(sealed.wait, 60)
        rotating = asyncio.create_task(rotation(one).rotate())
        done, _ = await asyncio.wait([rotating], timeout=0.3)
        go_on.set()
        assert not done  # it waits for who may be sealing with the old key
        await asyncio.gather(writing, rotating)
        await rotation(one).once()
        await two.store.write(lambda connection: write_models(connection, [model("later")], 1))
        assert one.store.keys is not None
        assert await one.store.read(key_ids) == {key.id for key in one.store.keys.keys.keys}
        for hub in (one, two):
            assert {view.spec.source.url for view in await hub.models.list()} == {CANARY}
    finally:
        go_on.set()
        for hub in (one, two):
            hub.stop()


@pytest.mark.postgres
async def test_a_hub_that_slept_while_encryption_was_switched_on_writes_nothing(
    tmp_path: Path, url: str, manual_clock: ManualClock
) -> None:
    plain, sealing = HubRig(url, manual_clock), HubRig(url, manual_clock, wish(tmp_path))
    await plain.start()
    await sealing.start()
    try:
        with pytest.raises(Transient, match=r"switched encryption at rest on\. Restart this one"):
            await plain.store.write(lambda connection: write_models(connection, [model("a")], 1))
        assert await sealing.models.list() == []
    finally:
        plain.stop()
        sealing.stop()


def model(name: str) -> ModelSpec:
    files = [ModelFile("m.bin", "0" * 64, 9)]
    return ModelSpec(name=name, files=files, source=ModelSource(url=CANARY))
