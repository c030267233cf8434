"""Files of a node that encrypts: nowhere to be read on the disk, and what was changed there is noticed, kept and asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.canary import CANARY, hidden, keys_of_blobs
from tests.file_rig import file_rig
from tests.model_cases import content, sha256
from tests.record_rig import held
from tests.sealed_node import SealedNode, download, sealed_node, upload
from tests.sealing_rig import key, sealing_cipher

from skerry.kit.blob_bytes import PIECE
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, NotFound, Refused, Transient
from skerry.kit.sealing.blobs import SealedBytes
from skerry.kit.sealing.stream import HEAD, WHOLE
from skerry.node.files.store import content_at

LARGE = (CANARY.encode() + bytes(range(256))) * 9000
assert len(LARGE) > 2 * PIECE
SHA = sha256(LARGE)


def path_of(directory: Path, sha: str) -> Path:
    return directory / "files" / sha[:2] / sha[2:]


async def in_force(node: SealedNode) -> set[int]:
    assert node.rotation
    return {int(key.id, 16) for key in node.rotation.status().keys if key.of == "files"}


async def test_a_canary_in_files_is_nowhere_in_the_data_directory(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        await node.rotation.once()
        small = await upload(node, CANARY.encode())
        large = await upload(node, LARGE)
        arrived = asyncio.Event()

        async def cut() -> AsyncIterator[bytes]:
            yield LARGE[: PIECE + 100_000]
            arrived.set()
            await asyncio.Event().wait()

        half = asyncio.create_task(node.files.put(sha256(LARGE + b"x"), None, cut()))
        await arrived.wait()
        assert list(tmp_path.glob("files/??/*.new"))
        assert hidden(tmp_path)
        half.cancel()
        await asyncio.wait([half])
        assert await download(node, small) == CANARY.encode()
        assert await download(node, large) == LARGE
    assert hidden(tmp_path)
    async with sealed_node(tmp_path) as node:
        await node.files.renew()
        assert await download(node, large) == LARGE


async def test_the_same_content_is_there_once_and_known_by_its_plain_hash(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        first, second = await upload(node, LARGE), await upload(node, LARGE)
        assert first == second
        assert [content_at(path) for path in tmp_path.glob("files/??/*")] == [SHA]


def swap(data: bytes, _other: bytes) -> bytes:
    return (
        data[:HEAD]
        + data[HEAD + WHOLE : HEAD + 2 * WHOLE]
        + data[HEAD : HEAD + WHOLE]
        + data[HEAD + 2 * WHOLE :]
    )


CHANGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "cut": lambda data, _: data[: HEAD + 3 * WHOLE],
    "swapped segments": swap,
    "another file": lambda _, other: other,
    "a flipped bit": lambda data, _: (
        data[: HEAD + 200] + bytes([data[HEAD + 200] ^ 1]) + data[HEAD + 201 :]
    ),
    "in plain": lambda _data, _other: LARGE,
    "gone": lambda _data, _other: b"",
}


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_file_is_set_aside_told_and_taken_anew(tmp_path: Path, change: str) -> None:
    cipher = sealing_cipher(key(1, "files"))
    blobs = SealedBytes(RealDisk(), cipher, content_at)
    async with file_rig(tmp_path, blobs=blobs) as rig:
        other = await rig.put(LARGE + b"other", sha256(LARGE + b"other"))
        ref = await rig.put(LARGE, SHA)
        await rig.publish(ref)
        path = path_of(tmp_path, SHA)
        data = CHANGES[change](path.read_bytes(), rig.path_of(other).read_bytes())
        path.write_bytes(data)
        if not data:
            path.unlink()
        row = rig.store.rows.row(SHA)
        assert row
        with pytest.raises(Corrupt) as caught:
            rig.bytes_of(ref)
        await rig.store.set_aside(row, caught.value)
        await rig.store.set_aside(row, caught.value)
        assert rig.store.rows.waiting(9) == []
        [(name, _, meta)] = rig.events
        assert (name, meta) == ("skerry.file.damaged", {"sha256": SHA, "size": len(LARGE)})
        assert (f"{SHA}.damaged" in rig.on_disk()) == bool(data)
        with pytest.raises(NotFound, match="Send them first"):
            await rig.publish(ref)
    async with file_rig(
        tmp_path, blobs=blobs
    ) as rig:  # a restart removes nothing that a person should see
        assert (f"{SHA}.damaged" in rig.on_disk()) == bool(data)
        assert await rig.put(LARGE, SHA) == ref
        assert rig.bytes_of(ref) == LARGE
        assert [row.sha256 for row in rig.store.rows.waiting(9)] == [SHA]
        await rig.publish(ref, first=7)


async def test_rotation_seals_files_anew(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        refs = [await upload(node, content(size)) for size in (0, 10, 3 * PIECE + 5)]
        await node.rotation.once()
        old = keys_of_blobs(tmp_path)
        assert old == await in_force(node)
        node.rotation.ask()
        await node.rotation.once()
        assert keys_of_blobs(tmp_path) == await in_force(node)
        assert not old & await in_force(node)
        assert [await download(node, ref) for ref in refs] == [content(ref.size) for ref in refs]
    async with sealed_node(tmp_path) as node:
        await node.files.renew()
        assert [await download(node, ref) for ref in refs] == [content(ref.size) for ref in refs]


async def test_readers_go_on_while_files_are_sealed_anew(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        refs = [await upload(node, content(PIECE + number)) for number in range(6)]
        reads, done = 0, asyncio.Event()

        async def read() -> None:
            nonlocal reads
            while not done.is_set():
                for ref in refs:
                    assert await download(node, ref) == content(ref.size)
                    reads += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            for _ in range(3):
                node.rotation.ask()
                await node.rotation.once()
            done.set()
        assert reads
        assert len(keys_of_blobs(tmp_path)) == 1


async def test_a_file_that_came_under_former_keys_is_refused_once(tmp_path: Path) -> None:
    """Its key may be gone before it is whole; who sends it sends it again."""
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        await node.rotation.once()
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield LARGE[: PIECE + 1]
            arrived.set()
            await go_on.wait()
            yield LARGE[PIECE + 1 :]

        coming = asyncio.create_task(node.files.put(SHA, len(LARGE), slow()))
        await arrived.wait()
        node.rotation.ask()
        await node.rotation.once()
        go_on.set()
        with pytest.raises(Transient, match="keys were changed while it came"):
            await coming
        ref = await upload(node, LARGE)
        assert await download(node, ref) == LARGE
        assert keys_of_blobs(tmp_path) == await in_force(node)


async def test_a_damaged_file_does_not_keep_an_old_key_alive(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        await node.rotation.once()
        good, bad = await upload(node, LARGE), await upload(node, b"bad" + LARGE)
        path = path_of(tmp_path, bad.sha256)
        path.write_bytes(path.read_bytes()[:-40])
        node.rotation.ask()
        await node.rotation.once()
        assert not any(each.retired for each in node.rotation.status().keys)
        assert await download(node, good) == LARGE
        told = [str(value) for _, _, value in held(node.records, "event")]
        assert sum("cannot read" in each for each in told) == 1
        assert path.with_name(path.name + ".damaged").exists()


async def test_switching_on_seals_files_that_are_there(tmp_path: Path) -> None:
    async with sealed_node(tmp_path, on=False) as node:
        refs = [await upload(node, data) for data in (LARGE, CANARY.encode(), b"")]
    stray = path_of(tmp_path, SHA).with_name(f"{SHA[2:]}.7.new")
    stray.write_bytes(LARGE)
    assert not hidden(tmp_path)
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        await node.rotation.once()
        assert not node.rotation.status().plain
        assert hidden(tmp_path)
        assert [await download(node, ref) for ref in refs] == [LARGE, CANARY.encode(), b""]
        assert keys_of_blobs(tmp_path) == await in_force(node)
        path_of(tmp_path, SHA).write_bytes(LARGE)
        with pytest.raises(Corrupt):
            await download(node, refs[0])


async def test_a_ring_that_is_older_than_the_files_refuses(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        for number in range(3):
            await upload(node, content(1000 + number))
        await node.rotation.once()
    names = ("keys.json", "keys.copy.json")
    old = {name: (tmp_path / name).read_bytes() for name in names}
    async with sealed_node(tmp_path) as node:
        ring = node.store.encryption.ring
        assert ring
        assert node.rotation
        ring.rotate(["files"])
        await node.rotation.once()
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(Refused, match="older than the data"):
        async with sealed_node(tmp_path):
            pass


async def test_what_was_damaged_before_is_not_sealed_as_if_it_were_whole(tmp_path: Path) -> None:
    async with sealed_node(tmp_path, on=False) as node:
        good, bad = await upload(node, b"good" + LARGE), await upload(node, LARGE)
    path = path_of(tmp_path, bad.sha256)
    path.write_bytes(LARGE[:-1] + b"!")
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        await node.rotation.once()
        assert path.with_name(path.name + ".damaged").exists()
        assert await download(node, good) == b"good" + LARGE
        assert await upload(node, LARGE) == bad
        assert await download(node, bad) == LARGE
