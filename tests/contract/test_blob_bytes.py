"""One suite for the ways in which a blob's bytes may lie in its file, and what the sealed one promises besides."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model_cases import content
from tests.sealing_rig import key, sealing_cipher

from skerry.kit.blob_bytes import PIECE, BlobBytes, PlainBytes
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt
from skerry.kit.sealing.blobs import SealedBytes
from skerry.kit.sealing.cipher import Place
from skerry.kit.sealing.sealed import SealingCipher, in_force
from skerry.kit.sealing.stream import HEAD, SEGMENT, WHOLE

KEY = key(1, "files")
SIZES = (0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, PIECE, PIECE + 7, 2 * PIECE + SEGMENT)


def sealed_bytes(cipher: SealingCipher | None = None) -> SealedBytes:
    return SealedBytes(RealDisk(), cipher or sealing_cipher(KEY), lambda path: path.stem)


ALL = {"plain": lambda: PlainBytes(RealDisk()), "sealed": sealed_bytes}


@pytest.fixture(params=ALL)
def blobs(request: pytest.FixtureRequest) -> BlobBytes:
    return ALL[request.param]()  # type: ignore[no-any-return]


def write(blobs: BlobBytes, path: Path, data: bytes) -> None:
    writer = blobs.create(path)
    for start in range(0, len(data), PIECE):
        writer.write(data[start : start + PIECE])
    writer.finish()
    writer.close()


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read(tmp_path: Path, blobs: BlobBytes, size: int) -> None:
    path, data = tmp_path / "blob", content(size)
    write(blobs, path, data)
    assert blobs.size(path) == size
    assert blobs.read(path, 0, size) == data
    assert blobs.is_current(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Corrupt):
        blobs.read(path, 0, size + 1)
    with pytest.raises(Corrupt):
        blobs.read(path, size, 1)
    assert blobs.read(path, size, 0) == b""


DATA = content(3 * SEGMENT + 100)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(DATA)), st.integers(0, len(DATA)))
def test_any_range(tmp_path_factory: pytest.TempPathFactory, start: int, size: int) -> None:
    blobs, path = sealed_bytes(), tmp_path_factory.mktemp("range") / "blob"
    write(blobs, path, DATA)
    size = min(size, len(DATA) - start)
    assert blobs.read(path, start, size) == DATA[start : start + size]


def test_what_is_missing_is_missing(tmp_path: Path, blobs: BlobBytes) -> None:
    for look in (blobs.size, blobs.is_current, lambda path: blobs.read(path, 0, 1)):
        with pytest.raises(FileNotFoundError):
            look(tmp_path / "blob")


def test_a_file_begun_again_holds_nothing_of_before(tmp_path: Path, blobs: BlobBytes) -> None:
    path = tmp_path / "blob"
    first = blobs.create(path)
    first.write(content(PIECE))
    first.close()
    write(blobs, path, b"new")
    assert blobs.read(path, 0, 3) == b"new"
    assert blobs.size(path) == 3


def exchange(data: bytes, one: int, other: int) -> bytes:
    pieces = [data[start : start + WHOLE] for start in range(HEAD, len(data), WHOLE)]
    pieces[one], pieces[other] = pieces[other], pieces[one]
    return data[:HEAD] + b"".join(pieces)


@pytest.mark.parametrize("size", [100, SEGMENT, 3 * SEGMENT, 3 * SEGMENT + 5])
def test_every_cut_is_seen_by_every_reader(tmp_path: Path, size: int) -> None:
    blobs, path = sealed_bytes(), tmp_path / "blob"
    write(blobs, path, content(size))
    data = path.read_bytes()
    ends = {0, 1, HEAD, HEAD + 33, HEAD + WHOLE, HEAD + 2 * WHOLE, len(data) - 1}
    for end in ends:
        if end < len(data):
            path.write_bytes(data[:end])
            with pytest.raises(Corrupt):  # also by who asks only for what is there
                blobs.read(path, 0, 1)
    path.write_bytes(data + b"x")
    with pytest.raises(Corrupt):
        blobs.read(path, 0, 1)


def test_segments_and_files_do_not_change_places(tmp_path: Path) -> None:
    blobs, one, other = sealed_bytes(), tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        write(blobs, path, content(4 * SEGMENT))
    first, second = one.read_bytes(), other.read_bytes()
    for wrong in (
        exchange(first, 0, 1),
        second,
        first[: HEAD + WHOLE] + second[HEAD + WHOLE :],
        first[: HEAD + WHOLE] + first[HEAD + 2 * WHOLE :],
    ):
        one.write_bytes(wrong)
        with pytest.raises(Corrupt):
            blobs.read(one, 0, 2 * SEGMENT)
    flipped = bytearray(first)
    flipped[HEAD + WHOLE + 500] ^= 1
    one.write_bytes(flipped)
    assert blobs.read(one, 0, SEGMENT) == content(4 * SEGMENT)[:SEGMENT]
    with pytest.raises(Corrupt):
        blobs.read(one, 0, 2 * SEGMENT)


def test_what_is_from_before_is_read_as_long_as_it_may_be(tmp_path: Path) -> None:
    path, cipher = tmp_path / "blob", sealing_cipher(KEY, plain=True)
    blobs = sealed_bytes(cipher)
    write(PlainBytes(RealDisk()), path, DATA)
    assert blobs.read(path, 5, 70_000) == DATA[5:70_005]
    assert (blobs.size(path), blobs.is_current(path)) == (len(DATA), False)
    with pytest.raises(Corrupt):
        blobs.read(path, 5, len(DATA))
    cipher.install(in_force([KEY], cipher.now, plain=False))
    with pytest.raises(Corrupt):
        blobs.read(path, 0, 1)


def test_under_a_retired_key_it_opens_and_is_not_current(tmp_path: Path) -> None:
    path, cipher = tmp_path / "blob", sealing_cipher(KEY)
    blobs = sealed_bytes(cipher)
    writer = blobs.create(path)
    writer.write(content(PIECE))
    retired = type(KEY)(1, "files", "AES-256-GCM", 0, KEY.secret, 0, retired=True)
    cipher.install(in_force([retired, key(2, "files")], cipher.now, plain=False))
    assert not blobs.is_current(path)
    writer.finish()
    assert not blobs.is_current(path)  # although its end is under the key of now
    assert blobs.read(path, 0, PIECE) == content(PIECE)


def test_a_file_that_is_sealed_anew_between_two_steps_of_a_reader_is_read_again(
    tmp_path: Path,
) -> None:
    """The reader has the old file open when the key of that is destroyed."""
    path, new = tmp_path / "blob", tmp_path / "blob.new"
    newer = key(2, "files")
    write(sealed_bytes(), path, DATA)
    write(sealed_bytes(sealing_cipher(newer)), new, DATA)

    class Overtaken(SealingCipher):
        def open(self, sealed: bytes, place: Place) -> bytes:
            if new.exists():
                new.replace(path)
                self.install(in_force([newer], self.now, plain=False))
            return super().open(sealed, place)

    cipher = Overtaken(in_force([KEY], None, plain=False))
    assert sealed_bytes(cipher).read(path, 100, 70_000) == DATA[100:70_100]
