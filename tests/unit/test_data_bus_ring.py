"""The ring of the data bus: what it holds, what it lets go, and the recordings that are made of it."""

from __future__ import annotations

import json
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.kit.errors import Corrupt
from skerry.runners.zenoh.events import APART, Events
from skerry.runners.zenoh.keys import Key
from skerry.runners.zenoh.recording import Recording
from skerry.runners.zenoh.ring import MOST_OPEN, PIECE_SECONDS, Ring, own_cipher
from skerry.runners.zenoh.rules import Channel
from skerry.wire.data_bus import BusOrder, ChannelRule

ONE, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
RULE = ChannelRule("cw/*", "ring", on="cyberwave/twin/*/event")
USUAL = BusOrder().ring


def channel(name: str, twin: str = ONE) -> Channel:
    return Channel(Key(twin, name), None, RULE)


class Times:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture(params=[False, True], ids=["plain", "sealed"])
def ring(request: pytest.FixtureRequest, tmp_path: Path, times: Times) -> Iterator[Ring]:
    cipher = own_cipher() if request.param else None
    found = Ring(tmp_path / "ring", USUAL.seconds, 10_000_000, times, cipher)
    yield found
    close(found)


def close(ring: Ring) -> None:
    """Its files are closed."""
    _ = ring.cut(lambda _: True)


def entries(data: bytes) -> list[tuple[float, bytes]]:
    found = []
    while data:
        at, size = struct.unpack_from("<dI", data)
        found.append((at, data[12 : 12 + size]))
        data = data[12 + size :]
    return found


def read(recording: Recording, tmp_path: Path) -> dict[str, bytes]:
    (tmp_path / "r.tar").write_bytes(recording.open().read())
    with tarfile.open(tmp_path / "r.tar") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_a_ring_holds_what_is_documented() -> None:
    """docs/reference/cyberwave-data-bus.md: 5 minutes, in at most 256 MB; nothing else says how much."""
    assert (USUAL.seconds, USUAL.size) == (5 * 60, 256_000_000)


def test_a_recording_has_every_sample_of_the_last_minutes(
    ring: Ring, times: Times, tmp_path: Path
) -> None:
    gps, imu = channel("gps"), channel("imu/left")
    for n in range(400):
        times.now = 1_000_000.0 + n
        ring.add(gps, times.now, b"%d" % n)
        if n >= 390:
            ring.add(imu, times.now, bytes(100_000))
    pieces = ring.cut(lambda _: True)
    recording = Recording(pieces, {"event": "e"}, 7_000_000_000)
    assert recording.open().read() == recording.open().read()
    files = read(recording, tmp_path)
    manifest = json.loads(files.pop("manifest.json"))
    assert {k: manifest[k] for k in ("version", "channels", "sample_count", "metadata")} == {
        "version": 1,
        "channels": [gps.name, imu.name],
        "sample_count": recording.samples,
        "metadata": {"event": "e"},
    }
    found = entries(files[f"cw__{ONE}__data__gps.bin"])
    assert [payload for _, payload in found][-300:] == [b"%d" % n for n in range(100, 400)]
    assert len(found) <= 300 + PIECE_SECONDS + 1
    assert manifest["end_ts"] == 1_000_399.0
    assert len(entries(files[f"cw__{ONE}__data__imu__left.bin"])) == 10
    assert recording.samples == len(found) + 10


def test_the_ring_has_a_size_and_nothing_else_lies_there(
    ring: Ring, times: Times, tmp_path: Path
) -> None:
    for n in range(1000):
        times.now += 0.1
        ring.add(channel(f"c{n % 3}"), times.now, bytes(100_000))
    assert sum(path.stat().st_size for path in (tmp_path / "ring").iterdir()) < 11_000_000


def test_what_a_recording_is_made_of_stays_until_it_is_made(
    ring: Ring, times: Times, tmp_path: Path
) -> None:
    ring.add(channel("gps"), times.now, b"1")
    pieces = ring.cut(lambda _: True)
    times.now += 1000
    ring.add(channel("gps"), times.now, b"2")
    assert b"1" in b"".join(b"".join(piece.content()) for piece in pieces)
    ring.release(pieces)
    with pytest.raises(FileNotFoundError):
        b"".join(pieces[0].content())


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
def test_a_clock_that_is_set_takes_nothing_away(ring: Ring, times: Times, step: float) -> None:
    for n in range(400):
        times.now += 1
        ring.add(channel("gps"), times.now + (step if n >= 200 else 0.0), b"x")
    pieces = ring.cut(lambda _: True)
    assert 300 <= sum(piece.count for piece in pieces) <= 300 + PIECE_SECONDS + 1
    assert len(pieces) >= 300 / (PIECE_SECONDS + 1)
    assert all(piece.first <= piece.last for piece in pieces)


def test_on_the_disk_a_sealed_ring_is_not_to_be_read(tmp_path: Path, times: Times) -> None:
    ring = Ring(tmp_path / "ring", 300.0, 10_000_000, times, own_cipher())
    ring.add(channel("gps"), times.now, b"position of somebody" * 10_000)
    [piece] = ring.cut(lambda _: True)
    [path] = (tmp_path / "ring").iterdir()
    assert b"somebody" not in path.read_bytes()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Corrupt):
        b"".join(piece.content())


def test_many_channels_need_few_files_at_once(tmp_path: Path, times: Times) -> None:
    ring = Ring(tmp_path / "ring", 300.0, 10_000_000, times)
    for n in range(3 * MOST_OPEN):
        ring.add(channel(f"c{n}"), times.now, b"x")
    open_files = [f for f in Path("/proc/self/fd").iterdir() if f.is_symlink() and str(tmp_path) in str(f.readlink())]  # fmt: skip
    assert len(open_files) <= MOST_OPEN
    assert len(ring.cut(lambda _: True)) == 3 * MOST_OPEN


def test_a_full_disk_is_told_once(
    tmp_path: Path, times: Times, capfd: pytest.CaptureFixture[str]
) -> None:
    ring = Ring(tmp_path / "ring", 300.0, 10_000_000, times)
    (tmp_path / "ring").rmdir()
    for _ in range(3):
        ring.add(channel("gps"), times.now, b"x")
    assert capfd.readouterr().err.count("cannot keep") == 1
    (tmp_path / "ring").mkdir()
    ring.add(channel("gps"), times.now, b"x")
    assert len(ring.cut(lambda _: True)) == 1


def test_an_event_is_of_its_twin_and_soon_after_one_another_makes_no_recording(
    tmp_path: Path, times: Times
) -> None:
    ring = Ring(tmp_path / "ring", 300.0, 10_000_000, times)
    events = Events(ring, [RULE, ChannelRule("*/gps", "ring", on="alarm")], [ONE, OTHER], times)
    for twin in (ONE, OTHER):
        ring.add(channel("gps", twin), times.now, b"x")
        ring.add(channel("imu", twin), times.now, b"x")
    events.happened("cyberwave/twin/none/telemetry", 1)
    events.happened(f"cyberwave/twin/{ONE}/event", 1)
    events.happened(f"cyberwave/twin/{ONE}/event", 2)
    [made] = events._made.take(9)
    assert (made.name, made.at) == (f"cw/{ONE}/recording.tar", 1)
    assert made.recording.channels == [f"cw/{ONE}/data/gps", f"cw/{ONE}/data/imu"]
    times.now += APART
    events.happened(f"cyberwave/twin/{ONE}/event", 3)
    events.happened("alarm", 4)
    again, alarm = events._made.take(9)
    assert again.at == 3
    assert alarm.name == "cw/recording.tar"
    assert alarm.recording.channels == [f"cw/{ONE}/data/gps", f"cw/{OTHER}/data/gps"]
    close(ring)


def test_an_event_before_there_is_anything_does_not_silence_the_next(
    tmp_path: Path, times: Times
) -> None:
    ring = Ring(tmp_path / "ring", 300.0, 10_000_000, times)
    events = Events(ring, [RULE], [ONE, OTHER], times)
    ring.add(channel("gps", OTHER), times.now, b"x")
    for at in range(100):
        events.happened(f"cyberwave/twin/{ONE}/event", at)
    ring.add(channel("gps", OTHER), times.now, b"y")
    assert len([*(tmp_path / "ring").iterdir()]) == 1  # no piece is ended for nothing
    ring.add(channel("gps"), times.now, b"x")
    events.happened(f"cyberwave/twin/{ONE}/event", 100)
    [made] = events._made.take(9)
    assert made.at == 100
    close(ring)


def test_events_of_other_rules_are_recorded_soon_after_one_another(
    tmp_path: Path, times: Times
) -> None:
    ring = Ring(tmp_path / "ring", 300.0, 10_000_000, times)
    rules = [ChannelRule("*/gps", "ring", on="fall/*"), ChannelRule("*/imu", "ring", on="hit/*")]
    events = Events(ring, rules, [ONE], times)
    for name in ("gps", "imu"):
        ring.add(channel(name), times.now, b"x")
    for event in ("fall", "hit", "fall", "hit"):
        events.happened(f"{event}/{ONE}", 1)
    made = [order.recording.channels for order in events._made.take(9)]
    assert made == [[f"cw/{ONE}/data/gps"], [f"cw/{ONE}/data/imu"]]
