"""Memory is given within the limit, in a fair order, and nobody waits for anything but those who were there before."""

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.workload_cases import live, row, wish

from skerry.kit.clock import NS
from skerry.node.workloads.admission import (
    NODE_SHARE,
    TURN,
    UNSTATED,
    Claim,
    demand,
    keeps_room,
    refusal,
    reservation,
)
from skerry.node.workloads.ledger import MemoryLedger
from skerry.node.workloads.steps import StartWorkload, StopWorkload, Wait
from skerry.wire.workload import Resources

MB = 1_000_000
LIMIT = 512 * MB


def claims(**sizes: int) -> list[Claim]:
    return [
        Claim(name, size * MB, ticket) for ticket, (name, size) in enumerate(sizes.items(), start=1)
    ]


def refused(held: list[Claim], waiting: list[Claim], size: int, name: str = "new") -> str:
    return refusal(LIMIT, held, waiting, Claim(name, size * MB, 99))


def test_what_fits_is_let_in() -> None:
    assert refused(claims(cam=200, sensors=192), [], 70) == ""


def test_what_does_not_fit_waits_and_says_for_what() -> None:
    assert refused(claims(cam=200, sensors=192), [], 71) == (
        "waits for memory: needs 71 MB, 70 MB of 512 MB are free "
        "(cam 200 MB, sensors 192 MB, the node itself 50 MB)"
    )


def test_of_many_holders_the_largest_are_named() -> None:
    held = claims(a=50, b=51, c=52, d=53, e=54, f=55, g=56)
    assert "(g 56 MB, f 55 MB, e 54 MB, d 53 MB, c 52 MB, 2 more, the node" in refused(held, [], 99)


def test_what_can_never_fit_says_so() -> None:
    assert refused([], [], 463) == (
        "cannot start: needs 463 MB, of the 512 MB of this node (runtime.max_memory_usage) "
        "462 MB are for workloads"
    )
    assert refused([], [], 462) == ""


def test_a_change_counts_its_own_reservation_as_free() -> None:
    held = claims(cam=200, sensors=200)
    assert refused(held, [], 262, name="cam") == ""
    assert refused(held, [], 263, name="cam").startswith("waits for memory: needs 263 MB, 262 MB")


def test_a_smaller_change_passes_whoever_waits_and_however_full_it_is() -> None:
    held, waiting = claims(cam=300, sensors=300), [Claim("big", 462 * MB, 9)]
    assert refused(held, waiting, 300, name="cam") == ""


def test_a_late_comer_passes_only_where_there_is_room_for_both() -> None:
    held, waiting = claims(cam=300), [Claim("big", 400 * MB, 9)]
    assert refused(held, waiting, 62) == ""
    assert refused(held, waiting, 63) == (
        "waits for memory: needs 63 MB; «big» came first, waits for 400 MB, and there is no room for both"
    )
    passed = [*held, Claim("passed", 62 * MB, 10)]
    assert "came first" in refused(passed, waiting, 1)


def test_who_waits_keeps_room_in_turns_that_get_longer() -> None:
    big = Claim("big", 400 * MB, 9, since=5)
    turns = [keeps_room(big, 5 + quarter * TURN // 4) for quarter in range(4 * 14)]
    expected = [True] * 4 + [False] * 4 + [True] * 8 + [False] * 8 + [True] * 16 + [False] * 16
    assert turns == expected
    held, small = claims(cam=300), Claim("small", 63 * MB, 10)
    assert "came first" in refusal(LIMIT, held, [big], small, now=5)
    assert refusal(LIMIT, held, [big], small, now=5 + TURN) == ""
    assert "are free" in refusal(
        LIMIT, [*held, small], [big], Claim("other", 100 * MB, 11), now=5 + TURN
    )


def test_only_starts_and_changes_ask() -> None:
    held = row(wish("a", resources=Resources(memory=5 * MB)))
    changed = wish("a", 2, resources=Resources(memory=7 * MB))
    assert demand(StartWorkload("a"), held, changed) == 5 * MB
    assert demand(StartWorkload("a"), live(), None) is None
    assert demand(StopWorkload("a", "changed"), live(), changed) == 7 * MB
    assert demand(StopWorkload("a", "removed"), live(), None) is None
    assert demand(Wait("a", "running"), live(), changed) is None
    assert reservation(wish("a").spec) == UNSTATED


NAMES = ["a", "b", "c", "d", "e"]
names = st.sampled_from(NAMES)


class Books(RuleBasedStateMachine):
    """Workloads that come, change, end and go, in any order, all asking one ledger as units do."""

    @initialize()
    def begin(self) -> None:
        self.woken: set[str] = set()
        self.ledger = MemoryLedger(LIMIT, self.woken.add, lambda: 0)
        self.wanted: dict[str, int] = {}
        self.runs: dict[str, int] = {}
        self.arrived: dict[str, int] = {}
        self.count = 0

    def sizes(self) -> int:
        return sum(claim.size for claim in self.ledger._held.values())

    @rule(name=names, size=st.integers(1, 600))
    def want(self, name: str, size: int) -> None:
        self.wanted[name] = size * MB
        self.ask(name)

    @rule(name=names)
    def ask(self, name: str) -> None:
        """A unit's pass: it asks for what it wants and has not, and enters what came of it."""
        self.woken.discard(name)
        size = self.wanted.get(name)
        if size is None or self.runs.get(name) == size:
            self.ledger.leave(name)
        elif self.ledger.ask(name, size) == "":
            self.runs[name] = size
            self.arrived.pop(name, None)
        elif name not in self.arrived:
            self.count += 1
            self.arrived[name] = self.count
        self.settle(name)

    def settle(self, name: str) -> None:
        size = self.runs.get(name)
        actual = live(wish(name, resources=Resources(memory=size))) if size else None
        self.ledger.settle(name, actual)

    @rule(name=names)
    def end(self, name: str) -> None:
        """It succeeds, fails, trips, or is removed."""
        self.runs.pop(name, None)
        self.wanted.pop(name, None)
        self.arrived.pop(name, None)
        self.ledger.leave(name)
        self.settle(name)

    @invariant()
    def within_the_limit(self) -> None:
        if hasattr(self, "ledger"):
            assert self.sizes() + NODE_SHARE <= LIMIT
            assert self.sizes() == sum(self.runs.values())

    def calm(self) -> None:
        """Everybody who was woken asks until nobody is."""
        for _ in range(100):
            if not self.woken:
                return
            self.ask(min(self.woken))
        raise AssertionError("the ledger never comes to rest")

    def teardown(self) -> None:
        """Each waits only for those that ran when it began to wait, and for who waited before it."""
        if not hasattr(self, "ledger"):
            return
        self.woken.update(NAMES)
        self.calm()
        while waiting := sorted(self.ledger._waiting.values(), key=lambda claim: claim.ticket):
            first = waiting[0]
            before = [
                claim.name
                for claim in self.ledger._held.values()
                if claim.ticket < first.ticket and claim.name != first.name
            ]
            assert before, f"{first} waits for nobody"
            for name in before:
                self.end(name)
            self.calm()  # those who were woken ask by themselves; nobody else is asked
            assert self.runs.get(first.name) == first.size, f"{first} still waits"


TestBooks = pytest.mark.guarantee("G4")(Books.TestCase)
TestBooks.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_who_runs_is_taken_over_even_above_a_lower_limit() -> None:
    ledger = MemoryLedger(LIMIT, lambda _: None, lambda: 0)
    big = Resources(memory=300 * MB)
    ledger.take_over([live(wish(name, resources=big), instance=name) for name in ("a", "b")])
    assert ledger.reserved == 600 * MB
    assert ledger.ask("a", 300 * MB) == ""
    assert "0 B of 512 MB are free" in ledger.ask("c", MB)


def test_one_that_is_between_two_tries_keeps_its_room_and_one_that_has_tripped_does_not() -> None:
    ledger = MemoryLedger(LIMIT, lambda _: None, lambda: 0)
    wanted = wish("a", resources=Resources(memory=300 * MB))
    assert ledger.ask("a", 300 * MB) == ""
    ledger.settle("a", row(wanted, "backoff"))
    assert ledger.ask("b", 300 * MB)
    ledger.settle("a", row(wanted, "tripped"))
    assert ledger.ask("b", 300 * MB) == ""


def test_without_a_limit_there_is_room_for_everybody() -> None:
    ledger = MemoryLedger(None, lambda _: None, lambda: 0)
    assert ledger.ask("a", 10**15) == ""
    assert ledger.reserved == 0


def test_a_stream_of_small_ones_neither_waits_for_ever_nor_starves_a_big_one() -> None:
    """Jobs of half an hour come every ten minutes; one that stays is in the way of the big one until it is removed."""
    now = 0
    ledger = MemoryLedger(LIMIT, lambda _: None, lambda: now)
    assert ledger.ask("stays", 200 * MB) == ""
    running: dict[str, int] = {}
    longest, waits = 0, dict[str, int]()
    for minute in range(0, 24 * 60, 10):
        now = minute * 60 * NS
        for name in [name for name, ends in running.items() if ends <= minute]:
            ledger.settle(name, None)
            del running[name]
        if minute == 10 * 60:
            ledger.settle("stays", None)
        if ledger.ask("big", 400 * MB) == "":
            break
        waits[f"job-{minute}"] = minute
        for name, since in tuple(waits.items()):
            if ledger.ask(name, 100 * MB) == "":
                running[name] = minute + 30
                longest = max(longest, minute - since)
                del waits[name]
    else:
        raise AssertionError("the big one never starts")
    assert minute > 10 * 60
    assert 0 < longest < 10 * 60
