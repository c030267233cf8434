"""What the data bus is made of: keys, last samples, rules, and the workload that a node wants for it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.workload_cases import wish
from tests.workload_rig import process_launch

from skerry.node.bus.router import BusPlan, BusWorkloads
from skerry.node.contracts.cyberwave import ROUTER
from skerry.node.ports import ProcessLaunch
from skerry.runners.zenoh.keys import Key, expression_of, key_of
from skerry.runners.zenoh.last import LastBytes
from skerry.runners.zenoh.rules import MAX_CHANNELS, Channels, Pace
from skerry.wire.codec import encode
from skerry.wire.data_bus import BusOrder, ChannelRule
from skerry.wire.workload import ProcessSpec

TWIN = "11111111-1111-4111-8111-111111111111"
FILMS = ChannelRule("cw/*/data/frames/*", "file", 1.0)

segments = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@pytest.mark.parametrize("channel", ["joint_states", "frames/default", "commands/velocity", "a_/b"])
def test_a_channel_is_a_key_and_a_directory(channel: str) -> None:
    key = key_of(f"cw/{TWIN}/data/{channel}")
    assert key == Key(TWIN, channel)
    assert expression_of(str(key).replace("/", "__")) == str(key)


@given(st.lists(segments.filter(lambda word: "__" not in word), min_size=1, max_size=3))
def test_every_channel_is_found_again_by_its_directory(words: list[str]) -> None:
    key = Key(TWIN, "/".join(words))
    assert key_of(expression_of(str(key).replace("/", "__"))) == key


@pytest.mark.parametrize(
    "expression",
    [
        f"cw/{TWIN}/data/frames/**",
        f"cw/{TWIN}/data/",
        f"cw/{TWIN}/other/frames",
        f"cw/{TWIN}/data/Frames",
        f"cw/{TWIN}/data/a//b",
        f"cw/{TWIN}/data/frames\n",
        f"cw/{TWIN}/data/frames/../x",
        f"other/{TWIN}/data/frames",
        "cw/_monitor/host/worker_stats",
        "cw/not-a-uuid/data/frames",
        f"cw/{TWIN}/data/{'a' * 250}",
        "",
    ],
)
def test_whatever_else_is_on_the_bus_is_no_channel(expression: str) -> None:
    assert key_of(expression) is None


def test_a_subscribers_directory_is_known_by_its_wildcard() -> None:
    assert expression_of(f"cw__{TWIN}__data__frames__**") == f"cw/{TWIN}/data/frames/**"


def test_the_last_samples_have_a_limit() -> None:
    last = LastBytes(limit=10)
    last.put("a", b"1234")
    last.put("b", b"1234")
    last.put("a", b"12345")
    assert dict(last.all()) == {"a": b"12345", "b": b"1234"}
    last.put("c", b"12")
    assert dict(last.all()) == {"a": b"12345", "c": b"12"}
    last.put("a", bytes(11))
    assert last.get("a") is None
    assert last.get("c") == b"12"


def arguments(bus: BusWorkloads) -> list[str]:
    [assignment] = bus.wanted()
    assert assignment.spec.process
    command = assignment.spec.process.command
    assert command[:3] == ["python", "-I", "skerry.runners.zenoh"]  # of no release
    launch = bus.launch_for(assignment, "i")
    assert isinstance(launch, ProcessLaunch)
    python, isolated, child, *rest = launch.command
    assert (python, isolated, rest) == ("python", "-I", command[3:])
    assert Path(child).is_file()
    return rest


def order_of(bus: BusWorkloads) -> BusOrder:
    return msgspec.json.decode(arguments(bus)[0], type=BusOrder)


def test_a_router_is_wanted_and_containers_are_told_where_it_is() -> None:
    bus = BusWorkloads(BusPlan(router=True, port=7448), process_launch, zenoh=True)
    bus.serve([TWIN], ["172.17.0.1", "127.0.0.1", "172.17.0.1"])
    assert arguments(bus) == ["", "7448", "172.17.0.1"]
    assert bus.endpoint() == "tcp/127.0.0.1:7448"
    assert bus.endpoint("fd00::1") == "tcp/[fd00::1]:7448"
    assert bus.is_local(ROUTER)
    assert not bus.problem


def test_it_begins_anew_only_with_what_it_depends_on() -> None:
    bus = BusWorkloads(BusPlan(router=True), process_launch, zenoh=True)
    bus.serve([TWIN], ["172.17.0.1"])
    [first], rung = bus.wanted(), bus.told.count
    bus.serve(["another twin, of which nothing is recorded"], ["172.17.0.1"])
    assert (list(bus.wanted()), bus.told.count) == ([first], rung)
    bus.serve([], ["172.18.0.1"])
    assert bus.wanted()[0] != first
    assert bus.told.count == rung + 1


@pytest.mark.guarantee("G8")
def test_while_no_engine_tells_addresses_it_goes_on_as_it_was_started() -> None:
    plan = BusPlan(router=True)
    bus = BusWorkloads(plan, process_launch, zenoh=True)
    bus.serve([TWIN], ["172.17.0.1", "172.18.0.1"])
    [running] = bus.wanted()
    again = BusWorkloads(plan, process_launch, zenoh=True)
    again.serve([TWIN], [], all_known=False, running=running)
    assert again.wanted() == [running]
    again.serve([TWIN], ["172.18.0.1"], all_known=False)
    assert again.wanted() == [running]
    again.serve([TWIN], ["172.18.0.1"], running=running)
    assert arguments(again)[2:] == ["172.18.0.1"]
    again.serve([TWIN], [], all_known=False)
    assert arguments(again)[2:] == ["172.18.0.1"]


@pytest.mark.guarantee("G8")
@pytest.mark.parametrize("program", [["-m", "skerry.runners.zenoh"], ["/opt/1.0/__main__.py"]])
def test_what_another_release_has_started_begins_anew_once(program: list[str]) -> None:
    bus = BusWorkloads(BusPlan(router=True), process_launch, zenoh=True)
    bus.serve([TWIN], ["172.17.0.1"])
    order = BusOrder(port=7447, hosts=["172.17.0.1"])
    said = [encode(order).decode()] if program[0] == "-m" else ["", "7447", "172.17.0.1"]
    [now], running = (
        bus.wanted(),
        wish(ROUTER, process=ProcessSpec(["python", "-I", *program, *said])),
    )
    again = BusWorkloads(BusPlan(router=True), process_launch, zenoh=True)
    again.serve([TWIN], [], all_known=False, running=running)
    assert again.wanted() == [now]
    assert again.launch_for(running, "i") == again.launch_for(now, "i")


def test_of_a_router_whose_command_nobody_can_read_no_address_is_known() -> None:
    bus = BusWorkloads(BusPlan(router=True), process_launch, zenoh=True)
    odd = ProcessSpec(["python", "-I", "-m", "skerry.runners.zenoh", "{"])
    bus.serve([TWIN], [], all_known=False, running=wish(ROUTER, process=odd))
    assert arguments(bus) == ["", "7447"]


def test_what_is_recorded_goes_by_stream_classes() -> None:
    rules = [ChannelRule("cw/*/data/gps", "keep"), FILMS, ChannelRule("cw/*/data/imu", "sample")]
    bus = BusWorkloads(BusPlan(router=True, rules=rules), process_launch, zenoh=True)
    bus.serve([TWIN])
    assert bus.wanted()[0].spec.streams == {"cw/*/data/gps": "keep", "cw/*/data/imu": "sample"}
    assert order_of(bus).twins == [TWIN]
    assert arguments(bus)[1:] == ["7447"]


def test_without_zenoh_it_says_so_and_files_go_on() -> None:
    bus = BusWorkloads(
        BusPlan(router=True, directories="/data", rules=[FILMS]), process_launch, zenoh=False
    )
    bus.serve([TWIN])
    assert order_of(bus).directories == "/data"
    assert arguments(bus)[1:] == []
    assert "Debian package skerry-zenoh;" in bus.problem
    assert bus.endpoint() == ""


def test_nothing_runs_for_nothing() -> None:
    bus = BusWorkloads(BusPlan(router=False, rules=[FILMS]), process_launch, zenoh=True)
    bus.serve([TWIN])
    assert bus.wanted() == []
    assert "needs cyberwave.zenoh_router" in bus.problem


def test_files_are_shared_with_wildcards_also_where_nothing_is_recorded() -> None:
    bus = BusWorkloads(BusPlan(router=False, directories="/data"), process_launch, zenoh=True)
    bus.serve([TWIN])
    assert order_of(bus) == BusOrder(directories="/data")


def test_another_plan_holds_at_once() -> None:
    bus = BusWorkloads(BusPlan(router=False), process_launch, zenoh=True)
    bus.serve([TWIN], ["172.17.0.1"])
    rung = bus.told.count
    bus.take(BusPlan(router=False))
    assert (bus.wanted(), bus.told.count, bus.endpoint()) == ([], rung, "")
    bus.take(BusPlan(router=True, port=7448))
    assert arguments(bus) == ["", "7448", "172.17.0.1"]
    assert (bus.told.count, bus.endpoint()) == (rung + 1, "tcp/127.0.0.1:7448")
    bus.take(BusPlan(router=False))
    assert bus.wanted() == []


def test_a_pace_is_kept_evenly_also_by_a_camera_that_jitters() -> None:
    pace = Pace(10.0)
    times = [n * 0.05 + (0.004 if n % 3 else 0.0) for n in range(200)]
    taken = [time for time in times if pace.takes(time)]
    assert len(taken) == pytest.approx(100, abs=2)
    assert pace.left() == pytest.approx(100, abs=2)
    assert pace.left() == 0
    assert pace.takes(1000.0)
    assert not pace.takes(1000.05)


def test_without_a_rate_every_sample_is_taken() -> None:
    pace = Pace(0.0)
    assert all(pace.takes(1.0) for _ in range(100))


def test_of_two_rules_the_first_counts_and_rings_apart() -> None:
    every, off = ChannelRule("*", "keep"), ChannelRule("*/map", "off")
    ring = ChannelRule("*/frames/*", "ring", 0.0, "*")
    channels = Channels([FILMS, off, every, ring], [TWIN], pytest.fail)
    frames, gps = (channels.of(f"cw/{TWIN}/data/{name}") for name in ("frames/left", "gps"))
    assert frames
    assert gps
    assert (frames.kept, frames.ring) == (FILMS, ring)
    assert (gps.kept, gps.ring) == (every, None)
    assert channels.of(f"cw/{TWIN}/data/map") is None
    assert channels.of("cw/99999999-9999-4999-8999-999999999999/data/gps") is None


def test_nobody_fills_memory_with_names_of_channels() -> None:
    said: list[str] = []
    channels = Channels([ChannelRule("*", "keep")], [TWIN], said.append)
    found = [channels.of(f"cw/{TWIN}/data/c{n}") for n in range(MAX_CHANNELS + 10)]
    assert all(found[:MAX_CHANNELS])
    assert not any(found[MAX_CHANNELS:])
    assert len(said) == 1
