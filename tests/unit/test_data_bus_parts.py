"""What the data bus is made of: keys, last samples, rules, and the workload that a node wants for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.cyberwave.record_rules import ON, read_rules
from skerry.kit.errors import InvalidInput
from skerry.node.bus.router import NAME, BusPlan, BusWorkloads
from skerry.runners.zenoh.keys import Key, directory_of, expression_of, key_of
from skerry.runners.zenoh.last import LastBytes
from skerry.wire.data_bus import BusOrder, ChannelRule, Ring

TWIN = "11111111-1111-4111-8111-111111111111"
FILMS = ChannelRule("cw/*/data/frames/*", "file", 1.0)

segments = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@pytest.mark.parametrize("channel", ["joint_states", "frames/default", "commands/velocity", "a_/b"])
def test_a_channel_is_a_key_and_a_directory(channel: str) -> None:
    key = key_of(f"cw/{TWIN}/data/{channel}")
    assert key == Key(TWIN, channel)
    assert expression_of(directory_of(key)) == str(key)


@given(st.lists(segments.filter(lambda word: "__" not in word), min_size=1, max_size=3))
def test_every_channel_is_found_again_by_its_directory(words: list[str]) -> None:
    key = Key(TWIN, "/".join(words))
    assert key_of(expression_of(directory_of(key))) == key


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


def test_rules_are_read_in_their_order() -> None:
    rules, ring = read_rules(
        {
            "cw/*/data/joint_states": {"class": "sample", "rate": "10"},
            "cw/*/data/frames/*": {"class": "file, ring", "seconds": "2m", "size": "10MB"},
            "cw/*/data/imu": {"class": "ring", "on": "env.*", "seconds": "30"},
        }
    )
    assert rules == [
        ChannelRule("cw/*/data/joint_states", "sample", 10.0),
        FILMS,
        ChannelRule("cw/*/data/frames/*", "ring", 0.0, ON),
        ChannelRule("cw/*/data/imu", "ring", 0.0, "env.*"),
    ]
    assert ring == Ring(120.0, 256_000_000)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({}, "no class"),
        ({"class": ", "}, "no class"),
        ({"class": "all"}, "«all» is no class"),
        ({"class": "keep", "fps": "1"}, "«fps» is no option"),
        ({"class": "keep", "rate": "fast"}, "rate «fast»"),
        ({"class": "keep", "rate": "-1"}, "rate «-1»"),
        ({"class": "keep", "rate": "nan"}, "rate «nan»"),
        ({"class": "ring", "seconds": "0"}, "between 1 second and a day"),
        ({"class": "ring", "size": "1kB"}, "at least 1MB"),
        ({"class": "ring", "seconds": "soon"}, "is not a duration"),
        ({"class": "ring", "on": "no blanks"}, "on: «no blanks» is not a pattern"),
    ],
)
def test_a_wrong_rule_is_named(options: dict[str, str], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"^cyberwave.record.*{wrong}"):
        read_rules({"cw/*": options})


def test_a_pattern_of_keys_has_their_letters() -> None:
    with pytest.raises(InvalidInput, match="is not a pattern"):
        read_rules({"cw/$": {"class": "keep"}})


def order_of(bus: BusWorkloads) -> BusOrder:
    import msgspec  # noqa: PLC0415

    [assignment] = bus.wanted()
    assert assignment.spec.process
    return msgspec.json.decode(assignment.spec.process.command[-1], type=BusOrder)


def test_a_router_is_wanted_and_containers_are_told_where_it_is() -> None:
    bus = BusWorkloads(BusPlan(router=True, port=7448), zenoh=True)
    bus.serve([TWIN], ["172.17.0.1", "127.0.0.1", "172.17.0.1"])
    assert order_of(bus) == BusOrder(port=7448, hosts=["172.17.0.1"])
    assert bus.endpoint() == "tcp/127.0.0.1:7448"
    assert bus.endpoint("fd00::1") == "tcp/[fd00::1]:7448"
    assert bus.needs() == {NAME: "running"}
    assert bus.is_local(NAME)
    assert not bus.problem


def test_it_begins_anew_only_with_what_it_depends_on() -> None:
    bus = BusWorkloads(BusPlan(router=True), zenoh=True)
    bus.serve([TWIN], ["172.17.0.1"])
    [first], rung = bus.wanted(), bus.told.count
    bus.serve(["another twin, of which nothing is recorded"], ["172.17.0.1"])
    assert (list(bus.wanted()), bus.told.count) == ([first], rung)
    bus.serve([], ["172.18.0.1"])
    assert bus.wanted()[0].generation != first.generation
    assert bus.told.count == rung + 1


def test_what_is_recorded_goes_by_stream_classes() -> None:
    rules = [ChannelRule("cw/*/data/gps", "keep"), FILMS, ChannelRule("cw/*/data/imu", "sample")]
    bus = BusWorkloads(BusPlan(router=True, rules=rules), zenoh=True)
    bus.serve([TWIN])
    assert bus.wanted()[0].spec.streams == {"cw/*/data/gps": "keep", "cw/*/data/imu": "sample"}
    assert order_of(bus).twins == [TWIN]


def test_without_zenoh_it_says_so_and_files_go_on() -> None:
    bus = BusWorkloads(BusPlan(router=True, directories="/data", rules=[FILMS]), zenoh=False)
    bus.serve([TWIN])
    assert order_of(bus).port is None
    assert order_of(bus).directories == "/data"
    assert "pip install skerry[zenoh]" in bus.problem
    assert bus.endpoint() == ""
    assert bus.needs() == {}


def test_nothing_runs_for_nothing() -> None:
    bus = BusWorkloads(BusPlan(router=False, rules=[FILMS]), zenoh=True)
    bus.serve([TWIN])
    assert bus.wanted() == []
    assert "needs cyberwave.zenoh_router" in bus.problem
