"""The hub's pure decisions in sync: whose history a cursor is from, which state rows win, which protocol is spoken."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hub_rig import status

from skerry.core.cursors import Position, sign
from skerry.hub.data.values import restore, restore_meta, store, store_meta
from skerry.hub.store.changes import Log
from skerry.hub.sync.hello import agree
from skerry.hub.sync.history import judge, read_cursor
from skerry.hub.sync.merge import UNNUMBERED, keys_of, merge
from skerry.hub.sync.push import gap_batch
from skerry.kit.errors import Refused
from skerry.wire.records import INT64
from skerry.wire.sync import NO_CHAIN, PROTOCOL, PushUnit, StateFrame, StateRow

LOG = Log(epoch=3, seq=100, pruned_through=40)
NOW = 1_760_000_000 * 10**9


@pytest.mark.parametrize(
    ("position", "tag", "verdict"),
    [
        ((3, 0, ""), None, "follows"),
        ((1, 0, ""), None, "follows"),
        ((3, 50, "aa"), "aa", "follows"),
        ((2, 50, "aa"), "aa", "follows"),  # from before the loss, and not part of what was lost
        ((3, 50, "aa"), "bb", "lost"),
        ((3, 101, "aa"), None, "lost"),
        ((3, 50, "aa"), None, "lost"),  # the number is taken, but by no change: statuses used it
        ((3, 40, "aa"), None, "unusable"),
        ((2, 50, "aa"), "bb", "unusable"),  # that loss is known
        ((2, 101, "aa"), None, "unusable"),
        ((4, 50, "aa"), "aa", "lost"),
        ((4, 0, ""), None, "lost"),
    ],
)
def test_a_cursor_is_judged_by_its_tag(
    position: tuple[int, int, str], tag: str | None, verdict: str
) -> None:
    assert judge(Position(*position, "n"), LOG, tag) == verdict


def test_a_cursor_is_read_only_by_the_node_and_the_hub_that_it_is_from() -> None:
    position = Position(1, 2, "aa", "n")
    cursor = sign(position, b"key")
    assert read_cursor(cursor, b"key", "n") == position
    assert read_cursor(cursor, b"key", "other") is None
    assert read_cursor(cursor, b"other", "n") is None
    assert read_cursor(None, b"key", "n") is None
    assert read_cursor(cursor[:-8], b"key", "n") is None


def merged(held: StateRow | None, *incoming: StateRow) -> StateRow:
    rows = {} if held is None else {("status", "a"): held}
    result = merge(rows, [StateFrame([row]) for row in incoming], "n", NOW)
    return result.rows["status", "a"]


def test_the_later_clock_wins_unless_the_edit_was_based_on_what_is_held() -> None:
    held = status("a", "running", hlc=10, rev=7)
    older, newer = status("a", "failed", hlc=9), status("a", "failed", hlc=11)
    assert merged(held, older) == held
    assert merged(held, newer).rev == UNNUMBERED
    assert bytes(merged(held, newer).body) == bytes(newer.body)
    based = status("a", "failed", hlc=9, rev=7)
    assert bytes(merged(held, based).body) == bytes(based.body)
    assert bytes(merged(held, newer, older).body) == bytes(newer.body)


def test_changed_rows_are_numbered_in_the_order_in_which_they_came() -> None:
    frames = [StateFrame([status("b"), status("a")]), StateFrame([status("c"), status("b", hlc=2)])]
    result = merge({}, frames, "n", NOW)
    assert result.changed == [("status", "b"), ("status", "a"), ("status", "c")]
    assert keys_of(frames) == result.changed
    assert {row.origin for row in result.rows.values()} == {"n"}


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), max_size=8), st.randoms())
def test_rows_that_were_based_on_nothing_converge_in_any_order(
    edits: list[tuple[int, int]], chance: object
) -> None:
    rows = [status("a", hlc=hlc, n=n) for hlc, n in dict(edits).items()]
    shuffled = list(rows)
    chance.shuffle(shuffled)
    if rows:
        newest = max(rows, key=lambda row: row.hlc)
        assert bytes(merged(None, *shuffled).body) == bytes(newest.body)


def test_a_gap_is_one_record_with_a_name_of_its_own() -> None:
    unit = PushUnit("ab" * 16, "sample", 21, NO_CHAIN, "boot", [], skipped=True)
    [batch] = gap_batch(unit, 11, NOW)
    [record] = batch.records
    assert (batch.kind, batch.source, batch.session, batch.counter) == ("gap", "hub", "ab" * 16, 21)
    assert (record.name, record.value, record.at) == ("sync.sample.skipped", 10, NOW)
    assert gap_batch(unit, 21, NOW) == gap_batch(unit, 30, NOW) == []


def test_the_highest_common_protocol_is_spoken() -> None:
    assert agree((1, PROTOCOL)) == PROTOCOL
    assert agree((1, PROTOCOL + 5)) == PROTOCOL
    for protocols in ((PROTOCOL + 1, PROTOCOL + 2), (0, 0), (5, 1)):
        with pytest.raises(Refused):
            agree(protocols)


VALUES = (
    st.booleans()
    | st.integers(-INT64, INT64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


@given(VALUES)
def test_values_survive_their_columns(value: object) -> None:
    back = restore(store(value))
    assert (type(back), back) == (type(value), value)
    assert "\0" not in (store(value).text or "")


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_metas_survive_and_equal_ones_have_one_text(meta: dict[str, object]) -> None:
    back = restore_meta(store_meta(meta))
    assert msgspec.json.encode(back, order="sorted") == msgspec.json.encode(meta, order="sorted")
    turned = dict(reversed(meta.items()))
    assert store_meta(turned) == store_meta(meta)
    assert "\0" not in store_meta(meta)
