"""Backup archives: what goes in comes out, and nothing else ever does."""

import hashlib
import io
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sealing_rig import ring

from skerry.kit.archive.format import FORMAT, Frames, Header, Member, encode_header, frames
from skerry.kit.archive.reading import Archive
from skerry.kit.archive.wrapping import (
    ArchiveKey,
    Wrapping,
    by_passphrase,
    by_ring,
    new_key,
    unwrap,
)
from skerry.kit.archive.writing import of_bytes, of_file, write_archive
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing.sources import Source, from_passphrase
from skerry.testing.faulty_disk import FaultyDisk

CANARY = b"canary-3f1b77"
KEK = bytes(range(32))
MIB = 1024 * 1024

HEADER = Header(FORMAT, "node", "n-1", "shed", 1_790_000_000 * 10**9, "0.1", 8, "everything")


def by_kek(kek: bytes = KEK) -> Wrapping:
    return Wrapping(kek, Source("file", "/keys/kek"))


def content(size: int = 400_000) -> bytes:
    return CANARY + random.Random(3).randbytes(size)


def made(path: Path, key: ArchiveKey | None, *members: Member) -> Archive:
    members = members or (of_bytes("empty", b""), of_bytes("records/keep/1.seg", content()))
    write_archive(path, HEADER, members, key=key, disk=RealDisk())
    return Archive(path)


@pytest.fixture(params=["plain", "sealed"])
def key(request: pytest.FixtureRequest) -> ArchiveKey | None:
    return new_key([by_kek()]) if request.param == "sealed" else None


def test_what_goes_in_comes_out(tmp_path: Path, key: ArchiveKey | None) -> None:
    archive = made(tmp_path / "a.skb", key)
    archive.check()
    contents = archive.extract(key, tmp_path / "out", RealDisk())
    assert (tmp_path / "out/empty").read_bytes() == b""
    assert (tmp_path / "out/records/keep/1.seg").read_bytes() == content()
    assert [entry.name for entry in contents.entries] == ["empty", "records/keep/1.seg"]
    assert contents.size == len(content())
    assert (archive.header.what, archive.header.id, archive.header.schema) == ("node", "n-1", 8)
    assert archive.header.sealed == (key is not None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.skb", "out"]
    assert (tmp_path / "a.skb").stat().st_mode & 0o777 == 0o600
    assert (CANARY in (tmp_path / "a.skb").read_bytes()) == (key is None)


def test_a_file_that_grows_counts_as_far_as_was_said(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"0123456789")
    archive = made(tmp_path / "a.skb", None, of_file("log", tmp_path / "log", 4))
    archive.extract(None, tmp_path / "out", RealDisk(), wanted=lambda name: name == "log")
    assert (tmp_path / "out/log").read_bytes() == b"0123"


def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path, key: ArchiveKey | None) -> None:
    archive = made(tmp_path / "a.skb", key, of_bytes("a", content(3000)), of_bytes("b", b"b" * 900))
    good = archive.path.read_bytes()
    bad = tmp_path / "bad.skb"
    chance = random.Random(11)
    for number in range(400):
        if number % 2:
            place = chance.randrange(len(good))
            data = bytearray(good)
            data[place] ^= 1 << chance.randrange(8)
        else:
            data = bytearray(good[: chance.randrange(len(good))])
        bad.write_bytes(data)
        with pytest.raises((Corrupt, Refused)):
            Archive(bad).check()
        with pytest.raises((Corrupt, Refused)):
            Archive(bad).verify(key)


def test_who_repairs_the_checksum_of_a_sealed_archive_is_found(tmp_path: Path) -> None:
    """Parts of another archive of the same key, too, and a header that says something else."""
    key = new_key([by_kek()])
    one = made(tmp_path / "a.skb", key, of_bytes("a", content())).path.read_bytes()
    other = made(tmp_path / "b.skb", key, of_bytes("a", content())).path.read_bytes()
    half = len(one) // 2
    lying = one.replace(b'"name":"shed"', b'"name":"barn"')
    for data in (one[:half] + other[half:], lying):
        (tmp_path / "bad.skb").write_bytes(_with_checksums(data))
        bad = Archive(tmp_path / "bad.skb")
        bad.check()
        with pytest.raises(Corrupt, match="cannot use backup"):
            bad.verify(key)


def _with_checksums(data: bytes) -> bytes:
    length = int.from_bytes(data[8:12], "big")
    text = data[16 : 16 + length]
    body = data[:12] + zlib.crc32(text).to_bytes(4, "big") + data[16:-32]
    return body + hashlib.sha256(body).digest()


def test_members_vouch_for_themselves() -> None:
    """Whatever the checksum over the file says, which anybody can write."""
    members = [of_bytes("a", b"first" * 9), of_bytes("b", b"other" * 9)]
    body = b"".join(frames(members))

    def read(data: bytes) -> list[str]:
        found = Frames(io.BytesIO(data))
        names = [member.name for member in found.members() if list(member.content)]
        assert found.contents
        return names

    assert read(body) == ["a", "b"]
    with pytest.raises(Corrupt, match="member «a» is not what was written"):
        read(body.replace(b"first", b"first".upper(), 1))
    with pytest.raises(Corrupt, match="member «c» is not what was written"):
        read(body.replace(b"a", b"c", 1))
    one, two = (b"".join(frames([member])).partition(b"Z\0")[0] for member in members)
    with pytest.raises(Corrupt, match="not those that it lists"):
        read(body.replace(one + two, two + one))
    with pytest.raises(Corrupt, match="not those that it lists"):
        read(body + b"M")
    with pytest.raises(Corrupt, match="ends early"):
        read(body[:-1])


def test_a_newer_format_is_refused_with_a_sentence(tmp_path: Path) -> None:
    newer = Header(FORMAT + 1, "node", "n-1", "shed", 0, "9", 8, "everything")
    (tmp_path / "a.skb").write_bytes(encode_header(newer) + bytes(32))
    with pytest.raises(Refused, match="format 2, this build knows 1"):
        Archive(tmp_path / "a.skb")
    (tmp_path / "b.skb").write_bytes(b"PK something else entirely")
    with pytest.raises(Corrupt, match="no backup of Skerry"):
        Archive(tmp_path / "b.skb")


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../b", "a//b", "", "a/./b"])
def test_nothing_is_ever_put_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot keep"):
        made(tmp_path / "a.skb", None, Member(name, [b"x"]))
    assert list(tmp_path.iterdir()) == []


def test_whatever_fails_leaves_the_one_before_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.skb"
    target.write_bytes(b"the one before")
    for number in range(1, 100):
        disk = FaultyDisk(number)
        try:
            write_archive(target, HEADER, [of_bytes("a", content())], key=None, disk=disk)
        except OSError:
            assert [path.name for path in tmp_path.iterdir()] == ["a.skb"]
            assert target.read_bytes() == b"the one before"
        else:
            break
    assert number > 5
    Archive(target).verify(None)


def test_it_opens_by_its_kek_or_its_recovery_passphrase_and_by_nothing_else(
    tmp_path: Path,
) -> None:
    key = new_key([by_kek(), by_passphrase(b"correct horse battery\n")])
    header = made(tmp_path / "a.skb", key).header
    for opened in (
        unwrap(header, kek=KEK),
        unwrap(header, lambda _: KEK),
        unwrap(header, passphrase=b"correct horse battery"),
    ):
        assert opened is not None
        assert opened.secret == key.secret
    with pytest.raises(
        Refused, match=r"key file \(/keys/kek\) or its recovery passphrase opens it"
    ):
        unwrap(header)
    with pytest.raises(Refused, match="what was given is not its recovery passphrase"):
        unwrap(header, passphrase=b"wrong horse battery")
    with pytest.raises(Refused, match="what was given is not its key file"):
        unwrap(header, kek=bytes(32))
    with pytest.raises(Refused, match="shorter than 12 bytes"):
        by_passphrase(b"short")
    assert key.secret not in (tmp_path / "a.skb").read_bytes()


def test_the_passphrase_of_the_directory_opens_it_wherever_its_file_was(tmp_path: Path) -> None:
    source, kek = from_passphrase("/gone/with/the/device", b"a horse on a stick")
    key = new_key([Wrapping(kek, source), by_passphrase(b"correct horse battery")])
    header = made(tmp_path / "a.skb", key).header
    for passphrase in (b"a horse on a stick\n", b"correct horse battery"):
        opened = unwrap(header, passphrase=passphrase)
        assert opened is not None
        assert opened.secret == key.secret


def test_the_ring_of_a_directory_wraps_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    keys = ring(tmp_path / "data")
    archive = made(tmp_path / "a.skb", new_key([by_ring(keys)]))
    kek = bytes.fromhex((tmp_path / "data/storage.key").read_text())
    archive.verify(unwrap(archive.header, kek=kek))


def test_memory_does_not_grow_with_what_is_kept(tmp_path: Path) -> None:
    def zeros() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(MIB)

    key = new_key([by_kek()])
    tracemalloc.start()
    archive = made(tmp_path / "a.skb", key, Member("zeros", zeros()))
    archive.extract(key, tmp_path / "out", RealDisk())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "out/zeros").stat().st_size == 64 * MIB
    assert peak < 8 * MIB
