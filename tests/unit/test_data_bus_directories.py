"""The data bus as files: what is found, and what a program that writes there cannot have read."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.runners.zenoh import directories
from skerry.runners.zenoh.arrivals import Arrivals
from skerry.runners.zenoh.directories import Directories
from skerry.runners.zenoh.keys import includes

TWIN = "11111111-1111-4111-8111-111111111111"
GPS, FRAMES = f"cw/{TWIN}/data/gps", f"cw/{TWIN}/data/frames/left_"


class Site:
    """A directory of the filesystem backend, and what was heard of it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "data"
        self.root.mkdir()
        self.heard: list[tuple[str, bytes]] = []
        self.directories = Directories(self.root, lambda _: True, lambda *one: self.heard.append(one))  # fmt: skip
        self.now = 0

    def place(self, expression: str) -> Path:
        place = self.root / expression.replace("/", "__")
        place.mkdir(exist_ok=True)
        return place

    def put(self, expression: str, number: int, data: bytes) -> None:
        (self.place(expression) / f"{number}.bin").write_bytes(data)

    def look(self) -> list[tuple[str, bytes]]:
        self.heard.clear()
        self.directories.look(self.now)
        return self.heard


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_new_samples_are_heard_once_and_in_order(site: Site) -> None:
    site.put(GPS, 1, b"old")
    assert site.look() == []
    site.put(GPS, 10, b"b")
    site.put(GPS, 9, b"a")
    site.put(FRAMES, 5, b"of a new channel")
    assert sorted(site.look()) == [(FRAMES, b"of a new channel"), (GPS, b"a"), (GPS, b"b")]
    assert site.look() == []
    site.put(GPS, 8, b"late")
    (site.place(GPS) / "10.bin").unlink()
    assert site.look() == [(GPS, b"late")]


@pytest.mark.parametrize("key", [GPS, FRAMES], ids=["known", "new"])
def test_the_first_sample_after_a_silence_is_noticed_at_once(site: Site, key: str) -> None:
    """The SDK leaves 100 of them: a fast channel has written more before the next look."""
    site.put(GPS, 1, b"old")
    _ = site.look()
    arrivals, woken = Arrivals(), threading.Event()
    arrivals.wait(site.directories.watched(), 600.0)  # begins to watch

    def wait() -> None:
        arrivals.wait(site.directories.watched(), 600.0)
        woken.set()

    threading.Thread(target=wait, daemon=True).start()
    site.put(key, 2, b"new")
    assert woken.wait(30.0)
    assert site.look() == [(key, b"new")]
    arrivals.close()


class _Enough(Exception):
    """So many looks."""


def test_what_is_no_sample_has_it_look_no_more_often_than_samples_do(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "_STILL", -1.0)
    other = site.place(GPS) / "other"
    other.touch()
    look, looks, over = site.directories.look, 0, threading.Event()

    def counted(now: int) -> bool:
        nonlocal looks
        looks += 1
        if looks > 10:
            raise _Enough
        return look(now)

    def touch() -> None:
        while not over.is_set():
            os.utime(other)

    monkeypatch.setattr(site.directories, "look", counted)
    busy = threading.Thread(target=touch)
    busy.start()
    began = time.monotonic()
    with pytest.raises(_Enough):
        site.directories.follow()
    took = time.monotonic() - began
    over.set()
    busy.join()
    assert took >= 10 * directories.BUSY


def test_where_nothing_can_be_watched_time_passes(tmp_path: Path) -> None:
    arrivals = Arrivals()
    for _ in range(3):
        arrivals.wait([tmp_path / "gone"], 0.01)


def test_a_directory_is_read_again_until_its_time_would_tell(site: Site) -> None:
    site.look()
    site.put(GPS, 1, b"1")
    assert site.look()
    status = site.place(GPS).stat()
    site.put(GPS, 2, b"2")
    os.utime(site.place(GPS), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert site.look() == [(GPS, b"2")]
    site.now = status.st_mtime_ns + 10**9
    site.look()
    site.put(GPS, 3, b"3")
    os.utime(site.place(GPS), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert site.look() == []


def test_a_root_that_comes_later_has_no_old_samples(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.root.rmdir()
    assert site.look() == []
    site.root.mkdir()
    site.put(GPS, 1, b"1")
    assert site.look() == [(GPS, b"1")]


def test_nothing_but_files_of_the_directory_is_read(site: Site, tmp_path: Path) -> None:
    site.look()
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    place = site.place(GPS)
    (place / "1.bin").symlink_to(secret)
    os.mkfifo(place / "2.bin")
    (place / "3.bin").mkdir()
    (place / "latest.bin").write_bytes(b"x")
    (place / ".sample_4.tmp").write_bytes(b"x")
    (place / "5.meta.json").write_bytes(b"x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "6.bin").write_bytes(b"secret")
    (site.root / f"cw__{TWIN}__data__imu").symlink_to(elsewhere)
    large = place / "7.bin"
    large.touch()
    os.truncate(large, 65 * 1024 * 1024)
    (place / "8.bin").write_bytes(b"8")
    assert site.look() == [(GPS, b"8")]


def test_a_subscriber_with_a_wildcard_is_given_what_fits(site: Site) -> None:
    wildcard = site.root / f"cw__{TWIN}__data__frames__**"
    wildcard.mkdir()
    site.look()
    for number in range(1, 151):
        site.put(FRAMES, number, b"%d" % number)
    site.put(GPS, 7, b"7")
    site.look()
    assert sorted(int(path.stem) for path in wildcard.iterdir()) == list(range(51, 151))
    assert (wildcard / "150.bin").read_bytes() == b"150"


def test_wildcards_cannot_lead_elsewhere_or_take_for_ever(site: Site, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (site.root / f"cw__{TWIN}__data__**").symlink_to(elsewhere)
    (site.root / ("cw__" + "**__" * 50)).mkdir()
    site.look()
    site.put(FRAMES, 1, b"1")
    assert site.look() == [(FRAMES, b"1")]
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        (GPS, True),
        (f"cw/{TWIN}/data/**", True),
        ("cw/*/data/**", True),
        (f"cw/{TWIN}/data/gps/**", True),
        (f"cw/{TWIN}/data/*", True),
        ("**", True),
        ("cw/**/gps", True),
        (f"cw/{TWIN}/data/gps/*", False),
        (f"cw/{TWIN}/data/gp", False),
        (f"cw/{TWIN}/data", False),
        ("cw/*/gps", False),
    ],
)
def test_wildcards_mean_what_zenoh_means(expression: str, fits: bool) -> None:
    assert includes(expression, GPS) == fits


parts = st.sampled_from(["a", "b", "*", "**"])


@given(st.lists(parts, min_size=1, max_size=5), st.lists(st.sampled_from("ab"), min_size=1))
def test_zenoh_says_the_same(pattern: list[str], key: list[str]) -> None:
    import zenoh  # noqa: PLC0415

    expression = zenoh.KeyExpr.autocanonize("/".join(pattern))
    assert includes("/".join(pattern), "/".join(key)) == expression.includes("/".join(key))
