"""What follows an exit: policy, delays, breaker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.node.store.instances import History
from skerry.node.workloads.restart import Ending, Verdict, after_exit
from skerry.wire.workload import Exit, Restart

OK, FAILED, KILLED, UNKNOWN = Exit(code=0), Exit(code=1), Exit(signal=9), Exit()
NOW = 1_000_000 * NS


def judge(
    exit_: Exit,
    *,
    policy: Restart | None = None,
    history: History | None = None,
    life: float = 1.0,
    now: int = NOW,
    chance: float = 0.0,
) -> Verdict:
    return after_exit(policy or Restart(), history or History(), Ending(exit_, life, now), chance)


@pytest.mark.parametrize(
    ("policy", "exit_", "phase"),
    [
        ("never", OK, "succeeded"),
        ("never", FAILED, "failed"),
        ("never", KILLED, "failed"),
        ("never", UNKNOWN, "failed"),
        ("on-failure", OK, "succeeded"),
        ("on-failure", FAILED, "backoff"),
        ("on-failure", KILLED, "backoff"),
        ("on-failure", UNKNOWN, "backoff"),
        ("always", OK, "backoff"),
        ("always", FAILED, "backoff"),
        ("always", KILLED, "backoff"),
        ("always", UNKNOWN, "backoff"),
    ],
)
def test_the_policy_decides_whether_there_is_a_next_time(
    policy: str, exit_: Exit, phase: str
) -> None:
    restart = Restart(policy=policy)  # type: ignore[arg-type]
    assert judge(exit_, policy=restart).phase == phase


def delays(exits: list[Exit], policy: Restart, *, life: float = 1.0) -> list[float]:
    """Seconds waited after each exit of a program that lives `life` seconds; -1 where the breaker trips."""
    history, now, found = History(), NOW, []
    for exit_ in exits:
        now += int(life * NS)
        verdict = judge(exit_, policy=policy, history=history, life=life, now=now)
        assert verdict.due is not None
        found.append(-1.0 if verdict.phase == "tripped" else (verdict.due - now) / NS)
        history, now = verdict.history, verdict.due
    return found


@pytest.mark.parametrize(
    ("policy", "exits", "expected"),
    [
        (Restart(attempts=99), [FAILED] * 6, [0, 0.5, 1, 2, 4, 8]),
        (Restart(attempts=99, delay=2, max_delay=5), [FAILED] * 5, [0, 2, 4, 5, 5]),
        (Restart(), [FAILED] * 10, [0, 0.5, 1, 2, 4, 8, 16, 32, 64, -1]),
        (Restart(), [OK] * 13, [0, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
        (Restart(attempts=3), [OK, FAILED, OK, FAILED, OK, FAILED], [0, 0.5, 1, 2, 4, -1]),
        (Restart(attempts=2, window=3), [FAILED] * 4, [0, -1, -1, -1]),
        (Restart(attempts=3, delay=2, window=3), [FAILED] * 5, [0, 2, 4, 8, 16]),
    ],
    ids=[
        "first at once, then doubling",
        "capped",
        "the tenth failure within ten minutes trips",
        "exits with code 0 are delayed and never trip",
        "only failures count for the breaker",
        "after a trip each failed try trips again",
        "failures outside the window do not count",
    ],
)
def test_a_program_that_ends_after_a_second(
    policy: Restart, exits: list[Exit], expected: list[float]
) -> None:
    assert delays(exits, policy) == expected


def test_jitter_takes_away_up_to_half() -> None:
    history = History(short_lives=3)
    waits = [judge(FAILED, history=history, chance=chance).due for chance in (0.0, 0.5, 1.0)]
    assert [((due or 0) - NOW) / NS for due in waits] == [2.0, 1.5, 1.0]


def test_a_long_life_forgets_failures_and_a_half_open_breaker() -> None:
    history = History(short_lives=30, failures=(NOW - 1,) * 9, half_open=True)
    verdict = judge(FAILED, history=history, life=60.0)
    assert verdict == Verdict("backoff", History(short_lives=1, failures=(NOW,)), NOW)


def test_a_breaker_that_trips_tries_again_after_its_window() -> None:
    verdict = judge(FAILED, policy=Restart(attempts=1, window=7))
    assert verdict.phase == "tripped"
    assert verdict.due == NOW + 7 * NS
    assert verdict.history.half_open


def test_code_0_on_trial_neither_closes_nor_trips_the_breaker() -> None:
    history = History(short_lives=10, half_open=True)
    verdict = judge(OK, history=history)
    assert verdict.phase == "backoff"
    assert verdict.history.half_open


exits = st.sampled_from([OK, FAILED, KILLED, UNKNOWN])
policies = st.builds(
    Restart,
    policy=st.sampled_from(["on-failure", "always"]),
    delay=st.floats(0.01, 10),
    max_delay=st.floats(10, 1000),
    reset_after=st.floats(1, 100),
    attempts=st.integers(1, 20),
    window=st.floats(1, 1000),
)


@pytest.mark.guarantee("G3")
@given(
    policies,
    st.lists(st.tuples(exits, st.floats(0, 200), st.floats(0, 1)), max_size=60),
)
def test_nothing_is_given_up_and_nothing_spins(
    policy: Restart, lives: list[tuple[Exit, float, float]]
) -> None:
    history, now = History(), NOW
    for exit_, life, chance in lives:
        now += int(life * NS)
        verdict = judge(exit_, policy=policy, history=history, life=life, now=now, chance=chance)
        if verdict.phase == "succeeded":
            assert policy.policy == "on-failure"
            assert exit_.ok
            return
        assert verdict.due is not None, "there is always a next time"
        wait = (verdict.due - now) / NS
        assert wait <= max(policy.max_delay, policy.window) + 1e-6
        if verdict.history.short_lives > 1 and verdict.phase == "backoff":
            assert wait >= policy.delay / 2 - 1e-6, "never twice at once"
        assert len(verdict.history.failures) <= policy.attempts, "the row stays small"
        history, now = verdict.history, verdict.due


def test_where_every_exit_counts_code_0_trips_the_breaker_as_a_failure_does() -> None:
    policy = Restart(attempts=3, window=60.0, delay=1.0, counts="exits")
    assert delays([OK, FAILED, OK, OK], policy)[2:] == [-1.0, -1.0]
    assert -1.0 not in delays([OK] * 5, replace(policy, counts="failures"))
    never = replace(policy, policy="on-failure")
    assert judge(OK, policy=never).phase == "succeeded"
