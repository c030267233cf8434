"""What a data bus's child records at its node: real samples of the SDK's, the node's real local API and store."""

from __future__ import annotations

import asyncio
import json
import struct
import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.bus_rig import BusRig, Program, until
from tests.cyberwave_sdk import Sdk
from tests.local_node import local_node
from tests.sdk_client import make_client

from skerry.wire.data_bus import BusOrder, ChannelRule, Ring
from skerry.wire.files import read_reference
from skerry.wire.records import PublishedRecord, Row

STRANGER = "99999999-9999-4999-8999-999999999999"


@pytest.fixture
def bus(tmp_path: Path, cyberwave_sdk: Sdk) -> Iterator[BusRig]:
    with BusRig(tmp_path, cyberwave_sdk) as rig:
        yield rig


@pytest.fixture
def path(short_dir: Path) -> Path:
    (short_dir / "w").mkdir()
    return short_dir / "w" / "sock"


def begin(bus: BusRig, path: Path, *rules: ChannelRule) -> Program:
    """The child, and a driver that it hears."""
    order = BusOrder(port=bus.port, twins=[bus.twin], rules=list(rules))
    bus.start(order, SKERRY_SOCKET=str(path))
    driver = bus.program()
    until(lambda: driver.ask("subscribers", key=bus.key("any")), "the driver knows of the router")
    return driver


def rows(path: Path, kind: str | None = None) -> list[Row]:
    return make_client(str(path)).query("*", kind, None, 10_000, 30.0)


async def recorded(path: Path, enough: Callable[[list[Row]], bool]) -> list[Row]:
    found: list[Row] = []

    def there() -> bool:
        found[:] = rows(path)
        return enough(found)

    await asyncio.to_thread(until, there, "it is recorded")
    return found


def say(driver: Program, key: str, value: Any) -> None:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    driver.ask("frame", key=key, header={"content_type": "application/json"}, data=text.hex())


async def test_a_stream_is_records_each_once_over_a_restart_of_the_node(
    bus: BusRig, short_dir: Path, path: Path
) -> None:
    driver = await asyncio.to_thread(begin, bus, path, ChannelRule("cw/*/data/joint_*", "keep"))
    key = bus.key("joint_states")

    def publish(start: int) -> None:
        for n in range(start, start + 50):
            say(driver, key, {"elbow": n})

    async with local_node(short_dir, path):
        await asyncio.to_thread(publish, 0)
        await recorded(path, lambda found: len(found) >= 10)
    await asyncio.to_thread(publish, 50)
    async with local_node(short_dir, path):
        await asyncio.to_thread(publish, 100)
        found = await recorded(path, lambda found: len(found) >= 150)
    assert [json.loads(str(row.value)) for row in found] == [{"elbow": n} for n in range(150)]
    assert {row.name for row in found} == {key}
    assert found[0].meta["content_type"] == "application/json"


async def test_numbers_arrays_and_words(bus: BusRig, short_dir: Path, path: Path) -> None:
    driver = await asyncio.to_thread(begin, bus, path, ChannelRule("cw/*", "keep"))
    array = {
        "content_type": "numpy/ndarray",
        "shape": [2, 2],
        "dtype": "float32",
        "metadata": {"unit": "N"},
    }
    async with local_node(short_dir, path, files=10**9):

        def publish() -> None:
            for value in (21.5, True, "docked", b'{"x": NaN}', {"name": "Zoë"}):
                say(driver, bus.key("telemetry"), value)
            data = struct.pack("<4f", 0.5, 1.0, float("nan"), -2.0).hex()
            driver.ask("frame", key=bus.key("imu"), header=array, data=data)
            driver.ask("put", key=bus.key("detections/yolo"), data=b'{"n": 1}'.hex())

        await asyncio.to_thread(publish)
        found = await recorded(path, lambda found: len(found) >= 7)
    assert [row.value for row in found] == [
        21.5, True, "docked", '{"x":null}', '{"name": "Zo\\u00eb"}', "[0.5,1.0,null,-2.0]", '{"n": 1}',
    ]  # fmt: skip
    imu = found[5].meta
    assert (imu["shape"], imu["dtype"], imu["unit"], imu["seq"]) == ("2,2", "float32", "N", 0)
    assert found[6].meta == {}


async def test_frames_are_files_that_numpy_reads(
    bus: BusRig, short_dir: Path, path: Path, cyberwave_sdk: Sdk
) -> None:
    rule = ChannelRule("cw/*/data/frames/*", "file", 1e6)
    driver = await asyncio.to_thread(begin, bus, path, rule)
    header = {"content_type": "numpy/ndarray", "shape": [2, 3, 3], "dtype": "uint8", "metadata": {"color_format": "rgb24"}}  # fmt: skip
    async with local_node(short_dir, path, files=10**9):
        key, data = bus.key("frames/default"), bytes(range(18))
        await asyncio.to_thread(driver.ask, "frame", key=key, header=header, data=data.hex())
        await asyncio.to_thread(driver.ask, "put", key=key, data=(b"\xff\xd8\xff" + data).hex())
        await recorded(path, lambda found: len(found) >= 2)  # `put` has no time of its own
        other = {"content_type": "numpy/ndarray", "shape": [2], "dtype": ">c8"}
        data_of_it = struct.pack(">4f", 1.5, 0, -2, 1).hex()
        await asyncio.to_thread(driver.ask, "frame", key=key, header=other, data=data_of_it)
        found = await recorded(path, lambda found: len(found) >= 3)
    assert {row.kind for row in found} == {"file"}
    assert [row.meta["format"] for row in found] == ["npy", "jpeg", "npy"]
    array, jpeg, swapped = [read_reference(row.value).sha256 for row in found]
    files = short_dir / "files"
    script = "import json,sys,numpy as n; a=n.load(json.load(sys.stdin)); print(json.dumps([a.shape, str(a.dtype), a.ravel().tolist()], default=str))"
    loaded = cyberwave_sdk.ask(script, str(files / array[:2] / array[2:]))
    assert loaded == [[2, 3, 3], "uint8", list(range(18))]
    loaded = cyberwave_sdk.ask(script, str(files / swapped[:2] / swapped[2:]))
    assert loaded == [[2], ">c8", ["(1.5+0j)", "(-2+1j)"]]
    assert (files / jpeg[:2] / jpeg[2:]).read_bytes() == b"\xff\xd8\xff" + data


async def test_a_rule_thins_and_says_how_much(bus: BusRig, short_dir: Path, path: Path) -> None:
    rules = ChannelRule("cw/*/data/gps", "sample", 0.001), ChannelRule("cw/*/data/end", "keep")
    driver = await asyncio.to_thread(begin, bus, path, *rules)
    async with local_node(short_dir, path):

        def publish() -> None:
            for n in range(20):
                say(driver, bus.key("gps"), n)
            say(driver, bus.key("end"), 1)

        await asyncio.to_thread(publish)
        found = await recorded(path, lambda found: any(row.name.endswith("end") for row in found))
    assert [row.value for row in found] == [0, 1]


async def test_what_is_no_channel_of_this_nodes_twins_is_not_recorded(
    bus: BusRig, short_dir: Path, path: Path
) -> None:
    driver = await asyncio.to_thread(begin, bus, path, ChannelRule("*", "keep"))
    async with local_node(short_dir, path, files=10**9):

        def publish() -> None:
            for key in (
                f"cw/{STRANGER}/data/gps",
                "cw/_monitor/host/worker_stats",
                "cw/x/data/gps",
                bus.key("UPPER"),
                bus.key("a-b"),
                f"other/{bus.twin}/data/gps",
                bus.key("a" * 250),
            ):
                say(driver, key, 1)
            say(driver, bus.key("gps"), 2)

        await asyncio.to_thread(publish)
        found = await recorded(path, bool)
    assert [(row.name, row.value) for row in found] == [(bus.key("gps"), 2)]


async def test_headers_that_lie_are_payload(bus: BusRig, short_dir: Path, path: Path) -> None:
    """The SDK's readers take bytes without a header, too; a lying one neither stops the bus nor becomes a number."""
    driver = await asyncio.to_thread(begin, bus, path, ChannelRule("cw/*", "file", 1e6))
    long = struct.pack("<Idq", 100_000, 0.0, 0) + b'{"a":"' + b"x" * 99_000 + b'"}' + bytes(2000)
    wrong_shape = {"content_type": "numpy/ndarray", "shape": [1 << 31, 4], "dtype": "uint8"}
    async with local_node(short_dir, path, files=10**9):
        await asyncio.to_thread(driver.ask, "put", key=bus.key("depth"), data=long.hex())
        await asyncio.to_thread(
            driver.ask, "frame", key=bus.key("depth"), header=wrong_shape, data="0102"
        )
        await asyncio.to_thread(driver.ask, "put", key=bus.key("depth"), data="")
        found = await recorded(path, lambda found: len(found) >= 3)
    assert sorted(read_reference(row.value).size for row in found) == [0, 2, len(long)]
    assert [row.meta["format"] for row in found] == ["raw", "raw", "raw"]


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
async def test_an_event_makes_one_file_of_what_came_before_it(
    bus: BusRig, short_dir: Path, path: Path, cyberwave_sdk: Sdk, *, sealed: bool
) -> None:
    """Read by the SDK's own reader."""
    rules = [
        ChannelRule("cw/*/data/end", "keep"),
        ChannelRule("cw/*/data/joint_*", "ring", on="bumped/*"),
    ]
    order = BusOrder(port=bus.port, twins=[bus.twin], rules=rules, ring=Ring(sealed=sealed))
    home = short_dir / "home"
    home.mkdir()
    key, event = bus.key("joint_states"), f"bumped/{bus.twin}"
    async with local_node(short_dir, path, files=10**9):
        await asyncio.to_thread(bus.start, order, SKERRY_SOCKET=str(path), HOME=str(home))
        driver = await asyncio.to_thread(bus.program)
        known = partial(driver.ask, "subscribers", key=key)
        await asyncio.to_thread(until, known, "the driver knows of the router")

        def publish() -> None:
            for n in range(50):
                say(driver, key, {"elbow": n})
            say(driver, bus.key("end"), 1)

        await asyncio.to_thread(publish)
        await recorded(path, bool)  # and so has all come that was said before
        client = make_client(str(path))

        def recording() -> bool:
            """An event that comes while the child does not listen yet makes none."""
            client.publish("event", [PublishedRecord(event, "fell over", 5, None)], 30.0)
            return bool(rows(path, "file"))

        await asyncio.to_thread(until, recording, "there is a recording")
        [file, *_] = await asyncio.to_thread(rows, path, "file")
    assert (file.name, file.at, file.meta["event"]) == (f"cw/{bus.twin}/recording.tar", 5, event)
    sha = read_reference(file.value).sha256
    with tarfile.open(short_dir / "files" / sha[:2] / sha[2:]) as tar:
        tar.extractall(short_dir / "recording", filter="data")
    script = """
import json, sys
from pathlib import Path
from cyberwave.data.header import decode
from cyberwave.data.recording import _load_timeline
from cyberwave.data.recording_format import RecordingManifest
where = Path(json.load(sys.stdin))
manifest = RecordingManifest.from_json((where / "manifest.json").read_text())
found = _load_timeline(where, manifest.channels)
print(json.dumps([manifest.channels, manifest.sample_count, [json.loads(decode(e.payload)[1]) for e in found]]))
"""
    channels, count, found = cyberwave_sdk.ask(script, str(short_dir / "recording"))
    assert channels == [key]
    assert count == len(found)
    assert found == [{"elbow": n} for n in range(50)]


async def test_what_programs_exchange_as_files_is_recorded_without_zenoh(
    bus: BusRig, short_dir: Path, path: Path
) -> None:
    data = short_dir / "data"
    data.mkdir()
    rules = [ChannelRule("cw/*/data/joint_states", "keep"), ChannelRule("*/frames/*", "file", 1e6)]
    order = BusOrder(directories=str(data), twins=[bus.twin], rules=rules)
    await asyncio.to_thread(bus.start, order, SKERRY_SOCKET=str(path))
    files = {"CYBERWAVE_DATA_BACKEND": "filesystem", "CYBERWAVE_DATA_DIR": str(data)}
    driver = await asyncio.to_thread(lambda: bus.program(**files))
    async with local_node(short_dir, path, files=10**9):

        def publish(numbers: Sequence[int]) -> None:
            for n in numbers:
                say(driver, bus.key("joint_states"), n)

        for n in range(0, 300, 50):  # the SDK takes away all but the newest 100, read or not
            await asyncio.to_thread(publish, range(n, n + 50))
            await recorded(path, lambda found, n=n: len(found) >= n + 50)

        def publish_others() -> None:
            driver.ask("publish", key=bus.key("frames/default"), size=100_000)
            driver.ask("publish", key=f"cw/{STRANGER}/data/joint_states", size=10)

        await asyncio.to_thread(publish_others)
        found = await recorded(path, lambda found: len(found) >= 301)
    assert [row.value for row in found if row.kind == "measurement"] == list(range(300))
    [frame] = [row for row in found if row.kind == "file"]
    assert read_reference(frame.value).size == 100_000
