"""The setting `cyberwave.record` as rules, and what is said of one that is none."""

from __future__ import annotations

import pytest

from skerry.core.cyberwave.recordings import Recording, channel_rules, recordings
from skerry.kit.errors import InvalidInput
from skerry.runners.zenoh.rules import Channels
from skerry.wire.data_bus import ChannelRule

TWIN = "aaaaaaaa-0000-4000-8000-000000000001"


def test_the_order_of_the_setting_is_that_of_the_rules() -> None:
    found = recordings({"cw/*/data/depth/*": {"class": "file", "rate": "0.5"}, "*": {"class": "off"}})  # fmt: skip
    assert list(found.items()) == [
        ("cw/*/data/depth/*", Recording("file", 0.5)),
        ("*", Recording("off", 0.0)),
    ]


def test_only_patterns_of_its_keys_hold_for_the_data_bus() -> None:
    tables = {
        "cyberwave/twin/*": {"class": "off"},
        "cw/*/data/frames/*": {"class": "ring", "on": "cyberwave/twin/*/event"},
        "cw/*": {"class": "sample", "rate": "1"},
    }
    assert channel_rules(tables) == [
        ChannelRule("cw/*/data/frames/*", "ring", on="cyberwave/twin/*/event"),
        ChannelRule("cw/*", "sample", 1.0),
    ]
    assert list(recordings(tables)) == ["cyberwave/twin/*", "cw/*"]


@pytest.mark.parametrize(
    ("fields", "rate"),
    [({"class": "file"}, 1.0), ({"class": "file", "rate": "0"}, 0.0), ({"class": "keep"}, 0.0)],
)
def test_files_are_one_a_second_where_nothing_is_said(fields: dict[str, str], rate: float) -> None:
    [rule] = channel_rules({"cw/*": fields})
    channel = Channels([rule], [TWIN], str).of(f"cw/{TWIN}/data/gps")
    assert rule.rate == rate
    assert channel is not None
    assert [channel.pace.takes(now) for now in (0.0, 0.5, 1.0)] == [True, rate == 0.0, True]


@pytest.mark.parametrize(
    ("pattern", "fields", "words"),
    [
        ("a b", {"class": "keep"}, "«a b» is not a pattern"),
        ("*", {}, "«*»: class is one of sample, keep, file, ring, off"),
        ("*", {"class": "keep", "rat": "1"}, "«rat» is none of class, rate, on"),
        ("*", {"class": "keep", "on": "x"}, "«on» belongs to class ring"),
        ("cw/*", {"class": "ring"}, "«on» names the events"),
        ("cyberwave/*", {"class": "ring", "on": "x"}, "of keys of the data bus"),
        ("*", {"class": "keep", "rate": "often"}, "rate «often» is no number"),
        ("*", {"class": "keep", "rate": "nan"}, "rate «nan» is no number"),
        ("*", {"class": "keep", "rate": "1001"}, "rate «1001»"),
    ],
)
def test_what_is_no_rule(pattern: str, fields: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words.replace("*", r"\*")):
        recordings({pattern: fields})
