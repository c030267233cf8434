"""The audit log's chain: whatever is done to entries up to a head that was kept is found, and where."""

from __future__ import annotations

import hashlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.audit_chain import (
    FIELDS,
    GENESIS,
    VERSION,
    Finding,
    canonical,
    cut_short,
    entry_hash,
    follow,
)
from skerry.wire.audit import AuditEntry, AuditHead, AuditRow
from skerry.wire.codec import decode, encode

TEXT = st.text(max_size=12)


@st.composite
def chains(draw: st.DrawFn) -> list[AuditRow]:
    rows: list[AuditRow] = []
    for _ in range(draw(st.integers(1, 8))):
        texts = {name: draw(TEXT) for name in ("actor", "action", "object", "detail")}
        rows = grown(rows, **texts, at=draw(st.integers(0, 2**62)))
    return rows


def grown(rows: list[AuditRow], **fields: object) -> list[AuditRow]:
    """With one entry more, as a hub makes it."""
    head = head_of(rows)
    fields = {"at": 1, "actor": "ann", "action": "act", "outcome": "done"} | fields
    entry = AuditEntry(seq=head.seq + 1, prev=head.hash, **fields)  # type: ignore[arg-type]
    return [*rows, AuditRow(entry, entry_hash(entry))]


def head_of(rows: list[AuditRow]) -> AuditHead:
    return AuditHead(rows[-1].entry.seq, rows[-1].hash) if rows else GENESIS


def changed(row: AuditRow, **fields: object) -> AuditRow:
    return AuditRow(msgspec.structs.replace(row.entry, **fields), row.hash)


def found(rows: list[AuditRow], known: AuditHead) -> Finding | None:
    return follow(rows, GENESIS, known) or cut_short(head_of(rows), known)


@given(chains())
def test_a_chain_as_it_was_written_is_whole(rows: list[AuditRow]) -> None:
    assert found(rows, head_of(rows)) is None
    later = grown(grown(rows), actor="bob")
    assert found(later, head_of(rows)) is None
    assert follow(later[len(rows) :], head_of(rows)) is None


@given(chains(), st.data())
def test_a_change_of_any_field_is_found_where_it_is(
    rows: list[AuditRow], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    entry = rows[at].entry
    name = data.draw(st.sampled_from([*FIELDS[1][1:], "prev"]))
    value = getattr(entry, name)
    other = value + 1 if isinstance(value, int) else f"{value}0"
    if name == "prev":
        other = "1" * 64
    wrong = [*rows[:at], changed(rows[at], **{name: other}), *rows[at + 1 :]]
    finding = follow(wrong, GENESIS)
    assert finding is not None
    assert (finding.fault, finding.seq) == ("changed", at + 1)


@given(chains(), st.data())
def test_an_entry_that_was_taken_away_is_missing(rows: list[AuditRow], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    finding = found(rows[:at] + rows[at + 1 :], head_of(rows))
    assert finding is not None
    last = at == len(rows) - 1
    assert (finding.fault, finding.seq) == ("truncated" if last else "missing", at + 1)


@given(chains())
def test_two_that_changed_places_or_one_twice_are_found(rows: list[AuditRow]) -> None:
    rows = grown(grown(rows))
    swapped = follow([*rows[:-2], rows[-1], rows[-2]], GENESIS)
    assert swapped is not None
    assert (swapped.fault, swapped.seq) == ("missing", len(rows) - 1)
    twice = follow([*rows, rows[-1]], GENESIS)
    assert twice is not None
    assert (twice.fault, twice.seq) == ("out of order", len(rows))


@given(chains(), st.data())
def test_a_fork_is_found_by_the_head_that_was_kept(
    rows: list[AuditRow], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    other = rows[:at]
    for number in range(len(rows) - at + data.draw(st.integers(0, 2))):
        other = grown(other, actor="mallory", at=number)
    assert follow(other, GENESIS) is None
    finding = found(other, head_of(rows))
    assert finding is not None
    assert (finding.fault, finding.seq) == ("forked", len(rows))


@given(chains())
def test_an_entry_with_a_hash_made_anew_does_not_carry_the_next(rows: list[AuditRow]) -> None:
    rows = grown(rows)
    entry = msgspec.structs.replace(rows[-2].entry, actor=rows[-2].entry.actor + "x")
    forged = [*rows[:-2], AuditRow(entry, entry_hash(entry)), rows[-1]]
    finding = follow(forged, GENESIS)
    assert finding is not None
    assert (finding.fault, finding.seq) == ("forked", len(rows))


@given(chains(), st.randoms())
def test_the_order_of_keys_in_json_does_not_matter(rows: list[AuditRow], chance: object) -> None:
    entry = rows[-1].entry
    items = list(msgspec.to_builtins(entry).items())
    chance.shuffle(items)  # type: ignore[attr-defined]
    again = decode(encode(dict(items)), AuditEntry, "an entry")
    assert entry_hash(again) == rows[-1].hash


@given(TEXT, TEXT)
def test_what_moves_from_one_field_to_the_next_is_a_change(one: str, other: str) -> None:
    [row] = grown([], actor=one + other, role="")
    moved = msgspec.structs.replace(row.entry, actor=one, role=other)
    assert (canonical(moved) == canonical(row.entry)) == (other == "")


def test_the_first_version_is_hashed_like_this_for_ever() -> None:
    [row] = grown([], actor="ann", role="admin", action="delete_node", object="/n", origin="::1")
    texts = ["1", "1", "ann", "admin", "delete_node", "/n", "::1", "done", "0", "0", "1", ""]
    form = b"\x01" + b"".join(len(text).to_bytes(4, "big") + text.encode() for text in texts)
    assert row.hash == hashlib.sha256(bytes(32) + form).hexdigest()
    assert row.hash == "6478039b8571fc1b5c475658d8d1eaa1e4ce3a4bd3142bd4a409a39790e12c5f"
    assert VERSION in FIELDS


def test_a_newer_version_is_said_to_be_one() -> None:
    [row] = grown([])
    finding = follow([changed(row, version=2)], GENESIS)
    assert finding is not None
    assert (finding.fault, finding.seq) == ("unknown", 1)
    assert "a newer Skerry" in finding.words


def test_what_is_no_hash_is_a_change() -> None:
    [row] = grown([])
    for wrong in ("", "zz", "é"):
        finding = follow([changed(row, prev=wrong)], GENESIS)
        assert finding is not None
        assert finding.fault == "changed"
