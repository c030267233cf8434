"""What the times of a series say about what is missing: by table, and against a slow and simple count."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest

from skerry.cli import completeness_table
from skerry.core.completeness import (
    PATIENCE,
    Dropped,
    Found,
    Moment,
    Tally,
    is_missing,
    quiet_for,
)
from skerry.wire.completeness import Cause

S = 10**9
T = 1_760_000_000 * S


def tally(moments: list[Moment], dropped: list[Dropped] | None = None) -> Found:
    counted = Tally()
    for moment in moments:
        counted.add(moment)
    found = counted.found(dropped or [])
    assert found is not None
    return found


def steady(*seconds: float, session: int = 1, boot: str = "b", offset: int = T) -> list[Moment]:
    return [Moment(T + int(at * S), session, boot, offset) for at in seconds]


SECONDS = [float(n) for n in range(100)]


@pytest.mark.parametrize(
    ("moments", "missing", "causes", "share"),
    [
        pytest.param(steady(*SECONDS), 0, [], 1.0, id="all there"),
        pytest.param(steady(*SECONDS[:50], *SECONDS[60:]), 10, ["silence"], 0.9, id="ten are not"),
        pytest.param(steady(*SECONDS[:50], *SECONDS[52:]), 0, [], 1.0, id="two: within three spacings"),
        pytest.param(
            [*steady(*SECONDS[:50]), *steady(*SECONDS[80:], session=2)], 30, ["restart"], 0.7, id="restarted"
        ),
        pytest.param(
            [*steady(*SECONDS[:50]), *steady(*SECONDS[50:], session=2)], 0, [], 1.0, id="restarted at once"
        ),
        pytest.param(
            [
                *steady(*SECONDS[:50]),
                *steady(*(at + 3600 for at in SECONDS[50:]), offset=T + 3600 * S),
            ],
            0, [], 1.0, id="the clock was set forward",
        ),
        pytest.param(
            [
                *steady(*SECONDS[:50]),
                *steady(*(at + 3600 for at in SECONDS[70:]), offset=T + 3600 * S),
            ],
            20, ["silence"], 0.8, id="set forward, and twenty are missing",
        ),
        pytest.param(
            sorted(
                [
                    *steady(*SECONDS),
                    *steady(*(at - 29.5 for at in SECONDS[60:]), offset=T - 90 * S),
                ],
                key=lambda moment: moment.at,
            ),
            0, [], 1.0, id="set back over what there was",
        ),
        pytest.param(
            [*steady(*SECONDS[:50]), *steady(*(at + 300 for at in SECONDS[50:]), boot="c", session=2)],
            300, ["restart"], 0.25, id="another boot: nothing tells of its clock",
        ),
    ],
)  # fmt: skip
def test_silences(moments: list[Moment], missing: int, causes: list[Cause], share: float) -> None:
    found = tally(moments)
    assert found.spacing is not None
    assert S / 2.1 < found.spacing < S * 1.03
    assert found.missing == pytest.approx(missing, rel=0.04)
    assert [silence.cause for silence in found.silences] == causes
    assert found.silent == len(causes)
    assert found.share == pytest.approx(share, rel=0.02)
    assert (found.first, found.last, found.count) == (moments[0].at, moments[-1].at, len(moments))


def test_a_silence_in_which_samples_were_dropped() -> None:
    moments = steady(*SECONDS[:50], *SECONDS[60:])
    inside = [Dropped(T + 52 * S, T + 55 * S)]
    assert [each.cause for each in tally(moments, inside).silences] == ["thinned"]
    before = [Dropped(T, T + 40 * S)]
    assert [each.cause for each in tally(moments, before).silences] == ["silence"]


@pytest.mark.parametrize(
    "moments",
    [
        steady(1.0),
        steady(*SECONDS[:10]),
        steady(*(2.0**n for n in range(24))),
        steady(*[5.0] * 30),
    ],
    ids=["one", "few", "irregular", "all at one moment"],
)
def test_where_nothing_can_be_expected(moments: list[Moment]) -> None:
    found = tally(moments)
    assert (found.spacing, found.share, found.silences, found.missing) == (None, None, [], 0)
    assert found.count == len(moments)
    assert Tally().found([]) is None


def test_the_usual_spacing_is_the_median() -> None:
    chance = random.Random(4)
    for scale in (1, 10**3, 10**6, S, 3600 * S):
        spacings = [max(int(chance.gauss(50, 10) * scale), 1) for _ in range(2000)]
        moments = [Moment(at, 1, "b", 0) for at in itertools.accumulate(spacings, initial=T)]
        assert tally(moments).spacing == pytest.approx(statistics.median(spacings), rel=0.04)


def test_more_silences_than_are_remembered_are_still_counted() -> None:
    at, moments = 0.0, []
    for n in range(40_000):
        at += 60 if n % 20 == 19 else 1
        moments.append(at)
    found = tally(steady(*moments))
    assert (found.silent, len(found.silences), found.missing) == (2000, 20, 2000 * 59)
    assert found.spacing == pytest.approx(S, rel=0.03)


@pytest.mark.parametrize(
    ("open_for", "heard", "missing"),
    [
        (0, 0, False),
        (2 * PATIENCE, 2 * PATIENCE, True),
        (2 * PATIENCE, PATIENCE // 2, False),  # away since: it may still have it
        (PATIENCE // 2, PATIENCE // 2, False),
    ],
)
def test_on_the_way_or_missing(open_for: int, heard: int, missing: bool) -> None:
    assert is_missing(T, T + heard, T + open_for) is missing


def test_quiet_at_the_end() -> None:
    assert quiet_for(T, S, T + 2 * S) is None
    assert quiet_for(T, S, T + 4 * S) == 4 * S
    assert quiet_for(T, None, T + 4 * S) is None


@pytest.mark.parametrize(
    ("length", "words"),
    [(999_990_000, "1.0s"), (20_000_000, "20ms"), (500_000, "0.5ms"), (None, "")],
)
def test_a_spacing_in_words(length: int | None, words: str) -> None:
    assert completeness_table._duration(length) == words
