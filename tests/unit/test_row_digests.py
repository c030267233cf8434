"""The sums of buckets after many changes are those after each one."""

from skerry.core.row_digests import EMPTY, bucket_of, replaced, summed, unpack

ROWS = [(f"r{number}", 2**64 - 1 - number) for number in range(600)]


def test_many_marks_that_come_and_go_are_summed_as_one_by_one() -> None:
    sums = unpack(EMPTY)
    for row_id, mark in ROWS:
        sums[bucket_of(row_id)] = replaced(sums[bucket_of(row_id)], 0, mark)
    assert summed(unpack(EMPTY), ROWS, []) == sums
    gone, changed = ROWS[:200], [(row_id, mark // 3) for row_id, mark in ROWS[200:400]]
    after = list(sums)
    for row_id, mark in gone:
        after[bucket_of(row_id)] = replaced(after[bucket_of(row_id)], mark, 0)
    for row_id, mark in changed:
        after[bucket_of(row_id)] = replaced(after[bucket_of(row_id)], dict(ROWS)[row_id], mark)
    come = [*changed, *((row_id, 0) for row_id, _ in gone)]
    assert summed(sums, come, ROWS[:400]) == after
    assert summed(sums, [], ROWS) == unpack(EMPTY)
