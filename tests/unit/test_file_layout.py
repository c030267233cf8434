"""What a hub wants next of a file, and what it makes of what comes."""

import random

import pytest
from tests.model_cases import content, sha256

from skerry.hub.files.layout import Layout
from skerry.wire.files import FileChunk, FileManifest

DATA = content(1000)
SIZES = [100, 50, 300, 150, 400]


def layout() -> Layout:
    chunks, at = [], 0
    for size in SIZES:
        chunks.append(FileChunk(sha256(DATA[at : at + size]), size))
        at += size
    return Layout.of(FileManifest(sha256(DATA), 1000, chunks))


def test_it_survives_the_database() -> None:
    again = Layout.unpacked(layout().packed())
    assert again.chunks == layout().chunks
    assert (again.size, len(again.packed())) == (1000, 5 * 36)
    assert Layout.unpacked(b"").size == 0


@pytest.mark.parametrize(
    ("at", "window", "end"),
    [(0, 1000, 1000), (0, 999, 600), (0, 150, 150), (0, 99, 99), (10, 50, 60), (120, 400, 450), (600, 64, 664), (990, 64, 1000)],
)  # fmt: skip
def test_at_most_a_window_of_whole_chunks_is_wanted(at: int, window: int, end: int) -> None:
    assert layout().wanted(at, window, ()) == end
    assert end - at <= window


def test_nothing_that_is_known_is_wanted() -> None:
    third = layout().chunks[2].sha256
    assert layout().wanted(0, 1000, {third}) == 150
    assert layout().wanted(200, 1000, {third}) == 1000


@pytest.mark.parametrize("seed", range(30))
def test_however_it_is_cut_the_same_is_kept(seed: int) -> None:
    chance, kept, tail = random.Random(seed), b"", b""
    while len(kept) < 1000:
        at = len(kept) + len(tail)
        data = DATA[at : at + chance.randint(1, 400)]
        checked = layout().check(len(kept), tail + data)
        kept, tail = kept + checked.verified, checked.rest
        assert not checked.wrong
    assert (kept, tail) == (DATA, b"")


@pytest.mark.parametrize("place", [0, 99, 100, 449, 450, 999])
def test_a_wrong_byte_keeps_what_comes_before_its_chunk(place: int) -> None:
    wrong = bytearray(DATA)
    wrong[place] ^= 1
    checked = layout().check(0, bytes(wrong))
    assert checked.wrong
    starts = [0, 100, 150, 450, 600]
    assert len(checked.verified) == max(start for start in starts if start <= place)


def test_a_chunk_that_began_before_is_not_checked() -> None:
    checked = layout().check(120, DATA[120:500])
    assert (len(checked.verified), len(checked.rest), checked.wrong) == (330, 50, False)
