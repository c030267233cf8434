"""How the settings of sync become delays."""

import random
from pathlib import Path

from skerry.node import settings as node
from skerry.node.sync.pace import Pace


def pace(tmp_path: Path, text: str) -> Pace:
    file = tmp_path / "sync.yaml"
    file.write_text(text)
    settings, _ = node.settings_to_start([file], {})
    return Pace.of(settings.sync)


def test_without_settings_it_is_the_usual_pace(tmp_path: Path) -> None:
    assert pace(tmp_path, "") == Pace()


def test_what_is_refused_waits_as_the_settings_say(tmp_path: Path) -> None:
    retry = "{max_attempts: 3, initial_delay: 2, max_delay: 20, backoff_factor: 3}"
    found = pace(tmp_path, f"sync: {{sync_interval: 300, retry: {retry}}}")
    chance = random.Random(1)
    waits = [found.delay(refusals, chance) for refusals in range(1, 3)]
    assert all(0.9 * full <= wait <= full for wait, full in zip(waits, [2, 6], strict=True))
    assert [found.has_failed(refusals) for refusals in range(1, 5)] == [False, False, True, True]


def test_what_is_parked_waits_for_the_schedule() -> None:
    found = Pace(pull_every=300.0, attempts=2)
    waits = [found.delay(refusals, random.Random(1)) for refusals in (2, 3, 9)]
    assert all(270 <= wait <= 330 for wait in waits)


def test_nodes_ask_a_tenth_earlier_or_later() -> None:
    found = Pace(pull_every=300.0)
    intervals = [found.pull_after(random.Random(seed)) for seed in range(50)]
    assert all(270 <= interval <= 330 for interval in intervals)
    assert max(intervals) - min(intervals) > 30
