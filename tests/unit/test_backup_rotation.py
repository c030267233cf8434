"""Which backups may go, and what the next one is called."""

import pytest

from skerry.kit.archive.rotation import (
    Held,
    from_before,
    held,
    is_due,
    next_name,
    surplus,
    time_word,
    to_make_room,
)

HOUR = 3600.0
NS = 10**9


def some(*numbers: int, size: int = 10) -> list[Held]:
    return [Held(f"node-a-{number:06d}-20260101T000000Z.skb", number, size) for number in numbers]


def test_a_directory_may_be_shared_with_others() -> None:
    files = [
        ("node-a-000002-20200101T000000Z.skb", 5),
        ("node-a-000001-20260101T000000Z.skb", 4),
        ("node-a-b-000009-20260101T000000Z.skb", 1),
        ("hub-a-000007-20260101T000000Z.skb", 1),
        ("node-a-000003-20260101T000000Z.skb.part", 1),
        ("holidays.jpg", 1),
    ]
    assert [(one.number, one.size) for one in held("node", "a", files)] == [(1, 4), (2, 5)]


def test_the_order_is_that_of_the_numbers_whatever_the_clock_says() -> None:
    there = held("node", "a", [("node-a-000012-20260101T000000Z.skb", 1)])
    assert next_name("node", "a", there, 0) == "node-a-000013-19700101T000000Z.skb"
    assert next_name("hub", "b", [], 1_790_000_000 * NS) == "hub-b-000001-20260921T141320Z.skb"


@pytest.mark.parametrize(
    ("keep", "gone"), [(5, []), (3, []), (2, [1]), (1, [1, 2]), (0, [1, 2]), (-1, [1, 2])]
)
def test_the_newest_ones_stay_and_the_newest_always(keep: int, gone: list[int]) -> None:
    assert [one.number for one in surplus(some(2, 3, 1), keep)] == gone


@pytest.mark.parametrize(
    ("wanted", "gone"), [(0, []), (1, [1]), (10, [1]), (11, [1, 2]), (20, [1, 2]), (21, [])]
)
def test_room_is_made_by_the_oldest_and_only_where_that_is_enough(
    wanted: int, gone: list[int]
) -> None:
    assert [one.number for one in to_make_room(some(1, 2, 3), wanted)] == gone


def test_each_kind_is_rotated_by_itself() -> None:
    everything = [Held("e", number, 100, holds="everything") for number in (1, 2)]
    daily = [Held("d", number, 10, holds="database") for number in range(3, 10)]
    assert [one.number for one in surplus([*everything, *daily], 3)] == [3, 4, 5, 6]
    assert [one.number for one in to_make_room([*everything, *daily], 120)] == [1, 3, 4]
    assert to_make_room([*everything, *daily], 161) == []


def test_what_was_there_when_the_database_was_rebuilt_is_told_apart() -> None:
    def at(number: int, second: int) -> Held:
        return Held("", number, 1, time_word(second * NS))

    before, later = [at(number, number) for number in (1, 2, 3)], [at(4, 104), at(5, 105)]
    assert from_before([*later, *before], 3, time_word(100 * NS)) == before
    wrong_clock = [at(number, 50) for number in range(6, 40)]
    assert from_before([*before, *later, *wrong_clock], 3, time_word(100 * NS)) == before
    assert held("node", "a", [("node-a-000003-19700101T000003Z.skb", 1)])[0].at == time_word(3 * NS)


def test_one_is_due_after_the_interval_and_when_the_clock_went_back() -> None:
    assert is_due(None, 0, HOUR)
    assert not is_due(1000 * NS, 1000 * NS, HOUR)
    assert not is_due(1000 * NS, (1000 + 3599) * NS, HOUR)
    assert is_due(1000 * NS, (1000 + 3600) * NS, HOUR)
    assert is_due(1000 * NS, 999 * NS, HOUR)
