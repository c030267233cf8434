"""The setting `cyberwave.record` as rules, and what is said of one that is none."""

from __future__ import annotations

import pytest

from skerry.core.cyberwave.recordings import Recording, recordings
from skerry.kit.errors import InvalidInput


def test_the_order_of_the_setting_is_that_of_the_rules() -> None:
    found = recordings({"cw/*/data/depth/*": {"class": "file", "rate": "0.5"}, "*": {"class": "off"}})  # fmt: skip
    assert list(found.items()) == [
        ("cw/*/data/depth/*", Recording("file", 0.5)),
        ("*", Recording("off", 0.0)),
    ]


@pytest.mark.parametrize(
    ("pattern", "fields", "words"),
    [
        ("a b", {"class": "keep"}, "«a b» is not a pattern"),
        ("*", {}, "«*»: class is one of sample, keep, file, off"),
        ("*", {"class": "keep", "rat": "1"}, "«rat» is neither"),
        ("*", {"class": "keep", "rate": "often"}, "rate «often» is no number"),
        ("*", {"class": "keep", "rate": "nan"}, "rate «nan» is no number"),
        ("*", {"class": "keep", "rate": "1001"}, "rate «1001»"),
    ],
)
def test_what_is_no_rule(pattern: str, fields: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words.replace("*", r"\*")):
        recordings({pattern: fields})
