"""How often passwords may be tried: who has to wait, for how long, and who is not held up by others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.hub.trust import attempts
from skerry.hub.trust.attempts import FREE, LONGEST_WAIT, Count, Counts, network_of
from skerry.kit.clock import NS

pytestmark = pytest.mark.guarantee("G9")

NOW = 1_760_000_000 * NS
DAY = 86_400 * NS
NONE: Counts = {kind: Count() for kind in FREE}


def failing(counts: Counts, times: int, now: int = NOW) -> Counts:
    for _ in range(times):
        counts = attempts.tried(counts, now)
    return counts


def test_waits_double_up_to_a_quarter_of_an_hour_and_are_forgotten_after_a_day() -> None:
    counts, waits, now = NONE, [], NOW
    for _ in range(17):
        counts = attempts.tried(counts, now)
        waits.append(attempts.wait(counts, now) // NS)
        now += attempts.wait(counts, now)
    assert waits == [0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]
    assert attempts.wait(attempts.tried(counts, now + DAY + 1), now + DAY + 1) == 0


def test_a_user_who_was_here_before_is_not_locked_out_by_others() -> None:
    here = attempts.passed(attempts.tried(NONE, NOW), NONE, NOW)
    elsewhere = failing(NONE, 40)
    mixed = {"pair": here["pair"], "user": elsewhere["user"], "address": elsewhere["address"]}
    assert attempts.wait(mixed, NOW) == 0
    assert attempts.wait({**mixed, "pair": Count()}, NOW) == LONGEST_WAIT
    later = NOW + attempts.KNOWN
    assert attempts.wait({**mixed, "user": Count(99, later, later + NS)}, later) == NS
    assert attempts.wait({**mixed, "pair": failing(here, 5)["pair"]}, NOW) == 2 * NS


def test_the_right_password_takes_its_own_try_back_and_nobody_elses() -> None:
    before = failing(NONE, 4)
    mine = attempts.tried(before, NOW)
    after = attempts.passed(mine, before, NOW)
    assert after["pair"] == Count(0, NOW, 0, NOW)
    assert (after["user"].failures, after["address"].failures) == (4, 4)
    locked = failing(NONE, FREE["user"] - 1)
    mine = attempts.tried(locked, NOW)
    assert attempts.passed(mine, locked, NOW)["user"].until == 0
    others = attempts.tried(mine, NOW + NS)
    assert attempts.passed(others, locked, NOW)["user"].until == others["user"].until > 0
    assert attempts.withdrawn(mine, locked, NOW)["pair"].failures == locked["pair"].failures


def test_ones_own_password_ends_no_lock_of_earlier_failures() -> None:
    """Of an address, which somebody with one password tries many names from, too."""
    address = failing(NONE, FREE["address"])["address"]
    here = attempts.passed(attempts.tried(NONE, NOW), NONE, NOW)["pair"]
    before: Counts = {"pair": here, "user": Count(), "address": address}
    assert attempts.wait(before, NOW + NS) == 0
    mine = attempts.tried(before, NOW + NS)
    for after in (
        attempts.passed(mine, before, NOW + NS), attempts.withdrawn(mine, before, NOW + NS),
    ):  # fmt: skip
        assert after["address"].until == address.until == NOW + 2 * NS
        assert attempts.wait({**after, "pair": Count()}, NOW + NS) == NS


def test_a_clock_that_was_ahead_locks_nobody_out() -> None:
    ahead = failing(NONE, 40, NOW + 365 * DAY)
    assert attempts.wait(ahead, NOW) == 0
    assert attempts.wait(failing(ahead, 4), NOW) == 0
    assert attempts.wait(failing(ahead, 5), NOW) == 2 * NS
    # Another hub's clock may be a little ahead.
    assert attempts.wait(failing(NONE, 40, NOW + 60 * NS), NOW) == LONGEST_WAIT


@given(st.integers(0, 2**62), st.integers(0, 200), st.integers(-(10**18), 10**18))
def test_nobody_ever_waits_longer_than_a_lock_lasts(now: int, times: int, moved: int) -> None:
    assert 0 <= attempts.wait(failing(NONE, times, now), now + moved) <= LONGEST_WAIT


def test_what_counts_as_one_address() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::9") == "2001:db8:1:2::"
    assert network_of("2001:db8:1:3::9") != network_of("2001:db8:1:2::9")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == "fe80::"
    assert network_of("") == ""
