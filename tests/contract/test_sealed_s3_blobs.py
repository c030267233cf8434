"""Sealed blobs in a bucket: its server learns nothing, and cannot change anything unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.hub_backups import hub_settings_at
from tests.model_cases import content, sha256
from tests.s3 import PREFIX, Contents, S3Server, s3_server
from tests.sealed_hub import CANARY, rotation_of, sealed_store

from skerry.hub.ports import Blobs
from skerry.hub.settings import BlobsSection
from skerry.hub.store.blob_keys import BlobKeys
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.open_blobs import open_blobs
from skerry.hub.store.rotation import Rotation
from skerry.hub.store.s3_blobs import S3Blobs
from skerry.hub.store.s3_objects import Bucket, Name, S3Objects, name_of, path_of
from skerry.hub.store.sealed_blobs import SealedBlobDirectory
from skerry.hub.store.sealed_s3_blobs import SealedS3Blobs
from skerry.kit.clock import SystemClock
from skerry.kit.errors import Corrupt, InvalidInput, NotFound
from skerry.testing.faulty_disk import FaultyDisk
from skerry.wire.models import BlobState

__all__ = ["s3_server", "sealed_store"]

DATA = content(1000)
SHA = sha256(DATA)
SECRET = CANARY.encode() + content(3_000_000)
SECRET_SHA = sha256(SECRET)
WHOLE = 65_536 + 34


@pytest.fixture
def bucket(s3_server: S3Server) -> Bucket:
    return s3_server.bucket()


@pytest.fixture
def contents(bucket: Bucket) -> Contents:
    return Contents(bucket)


@pytest.fixture
def blobs(bucket: Bucket, sealed_store: HubStore) -> SealedS3Blobs:
    return SealedS3Blobs(S3Objects(bucket), BlobKeys(sealed_store, "blobs"))


async def read(blobs: Blobs, sha: str, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in blobs.read(sha, start, end)])


def nothing_shows(contents: Contents) -> bool:
    return not any(
        shown in data for data in contents.read().values() for shown in (CANARY.encode(), DATA[:50])
    )


async def test_switched_on_for_a_bucket_with_plain_blobs(
    tmp_path: Path, bucket: Bucket, contents: Contents, sealed_store: HubStore
) -> None:
    before = S3Blobs(S3Objects(bucket))
    await before.add(SECRET_SHA, 0, len(SECRET), SECRET)
    await before.add(SHA, 0, 1000, DATA[:60])
    assert not nothing_shows(contents)
    blobs = by_settings(tmp_path, bucket, sealed_store)
    assert await blobs.size(SECRET_SHA) == len(SECRET)
    assert await read(blobs, SECRET_SHA, 5, 60) == SECRET[5:60]

    await rotation_of(sealed_store, [blobs]).once()
    assert set(contents.read()) == {path_of(Name(SECRET_SHA, sealed=True))}
    assert nothing_shows(contents)
    assert await blobs.size(SECRET_SHA) == len(SECRET)
    for start, end in (
        (0, len(SECRET)),
        (70_000, 2_000_000),
        (65_535, 65_537),
        (2_999_999, 3_000_001),
    ):
        assert await read(blobs, SECRET_SHA, start, end) == SECRET[start:end]

    assert await blobs.state(SHA) == BlobState(SHA, 0, complete=False)
    assert (await blobs.add(SHA, 0, 1000, DATA[:600])).received == 600
    assert nothing_shows(contents)
    await rotation_of(sealed_store, [blobs]).rotate()
    await rotation_of(sealed_store, [blobs]).once()
    blobs = by_settings(tmp_path, bucket, sealed_store)
    assert (await blobs.add(SHA, 600, 1000, DATA[600:])).complete
    assert await read(blobs, SHA, 0, 1000) == DATA
    assert len(contents.read()) == 2
    assert nothing_shows(contents)


def by_settings(tmp_path: Path, bucket: Bucket, store: HubStore) -> Blobs:
    secret = tmp_path / "s3-secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    url = f"s3://{bucket.name}/{PREFIX.rpartition('/')[0]}"
    section = BlobsSection(url, bucket.endpoint, bucket.region, "key", secret)
    settings = msgspec.structs.replace(hub_settings_at(tmp_path / "hub"), blobs=section)
    return open_blobs(settings, "blobs", store)


@pytest.mark.parametrize(
    "damage",
    [
        lambda sealed: sealed[:-40],
        lambda sealed: sealed[: 8 + 20 * WHOLE],
        lambda sealed: sealed[:30],
        lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]),
        lambda sealed: sealed + b"x",
    ],
    ids=["cut", "cut between segments", "cut in its first bytes", "another last byte", "longer"],
)
async def test_damage_at_the_end_is_found_by_every_reader(
    blobs: SealedS3Blobs, contents: Contents, damage: Callable[[bytes], bytes]
) -> None:
    await blobs.add(SECRET_SHA, 0, len(SECRET), SECRET)
    [(path, sealed)] = contents.read().items()
    contents.write(path, damage(sealed))
    for end in (await blobs.size(SECRET_SHA) or 0, 10):
        with pytest.raises(Corrupt, match="cannot read"):
            await read(blobs, SECRET_SHA, 0, end)


@pytest.mark.parametrize(
    "damage",
    [
        lambda sealed: sealed[:100] + bytes([sealed[100] ^ 1]) + sealed[101:],
        lambda sealed: (
            sealed[:8]
            + sealed[8 + WHOLE : 8 + 2 * WHOLE]
            + sealed[8 : 8 + WHOLE]
            + sealed[8 + 2 * WHOLE :]
        ),
        lambda sealed: sealed[:8] + sealed[8 + WHOLE :],
    ],
    ids=["another byte", "another order", "without its first segment"],
)
async def test_damage_is_found_where_it_is_read(
    blobs: SealedS3Blobs, contents: Contents, damage: Callable[[bytes], bytes]
) -> None:
    await blobs.add(SECRET_SHA, 0, len(SECRET), SECRET)
    [(path, sealed)] = contents.read().items()
    contents.write(path, damage(sealed))
    with pytest.raises(Corrupt):
        await read(blobs, SECRET_SHA, 0, 10)


async def test_what_another_key_sealed_comes_again(
    blobs: SealedS3Blobs, contents: Contents, sealed_store: HubStore
) -> None:
    for sha, data in ((SECRET_SHA, SECRET), (SHA, DATA)):
        await blobs.add(sha, 0, len(data), data)
    theirs = contents.read()[path_of(Name(SHA, sealed=True))]
    contents.write(path_of(Name(SECRET_SHA, sealed=True)), theirs)
    await BlobKeys(sealed_store, "blobs").forget(SHA)  # a database that was put back
    for sha, data in ((SECRET_SHA, SECRET), (SHA, DATA)):
        assert await blobs.state(sha) == BlobState(sha, 0, complete=False)
        with pytest.raises(NotFound):
            await read(blobs, sha, 0, 10)
        assert (await blobs.add(sha, 0, len(data), data)).complete
        assert await read(blobs, sha, 0, len(data)) == data


async def test_what_is_removed_leaves_no_key(
    blobs: SealedS3Blobs, contents: Contents, sealed_store: HubStore
) -> None:
    await blobs.add(SHA, 0, 1000, DATA)
    await blobs.remove(SHA)
    assert contents.read() == {}
    assert await BlobKeys(sealed_store, "blobs").find(SHA) is None


async def test_a_damaged_piece_comes_again(blobs: SealedS3Blobs, contents: Contents) -> None:
    await blobs.add(SHA, 0, 1000, DATA[:300])
    await blobs.add(SHA, 300, 1000, DATA[300:600])
    first, second = (path_of(Name(SHA, True, offset)) for offset in (0, 300))
    pieces = contents.read()
    contents.write(first, pieces[second])
    contents.write(second, pieces[first])
    with pytest.raises(InvalidInput, match="was damaged in the bucket. Send it again"):
        await blobs.add(SHA, 600, 1000, DATA[600:])
    assert contents.read() == {}
    assert (await blobs.add(SHA, 0, 1000, DATA)).complete


async def test_what_is_put_there_plain_later_is_nothing_until_it_is_sealed(
    bucket: Bucket, blobs: SealedS3Blobs, contents: Contents, sealed_store: HubStore
) -> None:
    await rotation_of(sealed_store, [blobs]).once()
    await S3Blobs(S3Objects(bucket)).add(SHA, 0, 1000, DATA)
    contents.write(path_of(Name(SECRET_SHA)), b"not what its name says")
    contents.write("a/manual.txt", b"somebody else's")
    for sha in (SHA, SECRET_SHA):
        assert await blobs.size(sha) is None
        with pytest.raises(NotFound):
            await read(blobs, sha, 0, 10)
    await rotation_of(sealed_store, [blobs]).once()  # as at the next start
    assert await read(blobs, SHA, 0, 1000) == DATA
    assert await blobs.size(SECRET_SHA) is None
    assert set(contents.read()) == {
        path_of(Name(SHA, sealed=True)), path_of(Name(SECRET_SHA)), "a/manual.txt"
    }  # fmt: skip
    later = SystemClock().wall_ns() + 10**10
    assert await blobs.sweep({SHA}, later) == 1
    assert set(contents.read()) == {path_of(Name(SHA, sealed=True)), "a/manual.txt"}


async def test_a_reader_goes_on_when_the_object_is_written_anew(
    bucket: Bucket, blobs: SealedS3Blobs, contents: Contents
) -> None:
    await S3Blobs(S3Objects(bucket)).add(SECRET_SHA, 0, len(SECRET), SECRET)
    reading = blobs.read(SECRET_SHA, 0, len(SECRET))
    found = await anext(reading)
    assert [name async for name in blobs.seal_plain()] == [SECRET_SHA]
    found += await anext(reading)
    contents.delete(path_of(Name(SECRET_SHA, sealed=True)))
    await blobs.add(SECRET_SHA, 0, len(SECRET), SECRET)
    assert found + b"".join([piece async for piece in reading]) == SECRET


async def test_two_hubs_may_seal_the_same_bucket(
    bucket: Bucket, contents: Contents, sealed_store: HubStore
) -> None:
    names = sorted(sha256(bytes([each])) for each in range(12))
    for each in range(12):
        data = bytes([each])
        await S3Blobs(S3Objects(bucket)).add(sha256(data), 0, 1, data)
    keys = BlobKeys(sealed_store, "blobs")
    hubs = [SealedS3Blobs(S3Objects(bucket), keys) for _ in range(2)]

    async def seal(blobs: SealedS3Blobs) -> list[str]:
        return [name async for name in blobs.seal_plain()]

    sealed = await asyncio.gather(*map(seal, hubs))
    assert sorted({name for each in sealed for name in each}) == names
    assert set(contents.read()) == {path_of(Name(name, sealed=True)) for name in names}
    for each in range(12):
        for blobs in hubs:
            assert await read(blobs, sha256(bytes([each])), 0, 1) == bytes([each])


async def test_sealing_goes_over_to_the_process_that_got_the_lease(
    bucket: Bucket, blobs: SealedS3Blobs, contents: Contents, sealed_store: HubStore
) -> None:
    for data in (DATA, SECRET):
        await S3Blobs(S3Objects(bucket)).add(sha256(data), 0, len(data), data)
    answers = iter([True, False])

    async def may() -> bool:
        return next(answers)

    keys = BlobKeys(sealed_store, "blobs")
    await Rotation(sealed_store, SystemClock(), may, [blobs]).once()
    assert sorted(path.endswith(".sealed") for path in contents.read()) == [False, True]
    assert keys.takes_plain
    await rotation_of(sealed_store, [blobs]).once()
    assert all(path.endswith(".sealed") for path in contents.read())
    assert not keys.takes_plain


async def test_a_sealed_directory_can_be_copied_into_a_bucket(
    tmp_path: Path, blobs: SealedS3Blobs, contents: Contents, sealed_store: HubStore
) -> None:
    place = tmp_path / "blobs"
    directory = SealedBlobDirectory(place, BlobKeys(sealed_store, "blobs"), FaultyDisk())
    await directory.add(SECRET_SHA, 0, len(SECRET), SECRET)
    for path in place.rglob("*.sealed"):
        contents.write(str(path.relative_to(place)), path.read_bytes())
    assert await read(blobs, SECRET_SHA, 0, len(SECRET)) == SECRET


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("offset", [None, 0, 8_000_000_000])
def test_a_name_is_found_in_its_path(sealed: bool, offset: int | None) -> None:
    name = Name(SHA, sealed, offset)
    assert name_of(path_of(name)) == name


@pytest.mark.parametrize(
    "path",
    [
        SHA,
        f"parts/{SHA[:2]}/{SHA[2:]}",
        f"{path_of(Name(SHA))}/{0:020}",
        f"{path_of(Name(SHA))}.old",
        "a/b",
    ],
)
def test_other_paths_are_not_ours(path: str) -> None:
    assert name_of(path) is None
