"""Reads the frames of a push unit and refuses what no honest node sends: pure, and the border of the hub.

What passes here fits into the hub's columns on every database, so that nothing a node sends can fail later.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from skerry.core.entities import ENTITIES, node_may_write
from skerry.kit.errors import InvalidInput, Refused
from skerry.wire.codec import decode
from skerry.wire.records import (
    INT64,
    MAX_META_KEYS,
    MAX_META_TEXT,
    MAX_NAME,
    MAX_TEXT,
    Batch,
    Meta,
    Record,
    Value,
)
from skerry.wire.sync import PushUnit, StateFrame, StateRow
from skerry.wire.workload import NodeInfo, WorkloadStatus

MAX_UNIT_RECORDS = 100_000
"""One unit keeps the writer to itself; more records than this in one would keep everybody else waiting."""

_MAX_POINT = 2**62
_MAX_BODY = 1024 * 1024
_MAX_SOURCE = 255
_ID = re.compile(r"[0-9A-Za-z_.\-]{1,64}")
_CHAIN = re.compile(r"[0-9a-f]{16}")
_SESSION = re.compile(r"[0-9a-f]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/]*")
_BODIES: dict[str, type[WorkloadStatus] | type[NodeInfo]] = {
    "status": WorkloadStatus,
    "node": NodeInfo,
}


@dataclass(frozen=True)
class Frames:
    """A unit's frames: batches on a record lane, or state frames. `sizes` counts what each adds to the lane."""

    batches: Sequence[Batch]
    states: Sequence[StateFrame]
    sizes: Sequence[int]


def read_frames(node_id: str, unit: PushUnit) -> Frames:
    """The frames of `unit`, checked. Raises InvalidInput, or Refused for rows that this node may not write."""
    _check_head(unit)
    if unit.lane == "state":
        states = [
            decode(frame, StateFrame, _name(unit, index)) for index, frame in enumerate(unit.frames)
        ]
        for index, state in enumerate(states):
            for row in state.rows:
                _check_row(node_id, row, _name(unit, index))
        return Frames([], states, [1] * len(states))
    batches = [decode(frame, Batch, _name(unit, index)) for index, frame in enumerate(unit.frames)]
    names: set[str] = set()
    for index, batch in enumerate(batches):
        _check_batch(batch, names, _name(unit, index))
    sizes = [len(batch.records) for batch in batches]
    if sum(sizes) > MAX_UNIT_RECORDS:
        raise InvalidInput(
            f"cannot take a unit of {sum(sizes)} records: send at most {MAX_UNIT_RECORDS} at a time"
        )
    return Frames(batches, [], sizes)


def check_id(text: str, what: str) -> None:
    """Raises InvalidInput unless `text` can be an incarnation or a boot id."""
    _require(_ID.fullmatch(text) is not None, f"{what} «{text[:64]}»", "it is not an id")


def _check_head(unit: PushUnit) -> None:
    check_id(unit.incarnation, "incarnation")
    check_id(unit.boot_id, "boot id")
    what = f"a unit of lane {unit.lane}"
    _require(1 <= unit.first < _MAX_POINT, what, f"its first record is number {unit.first}")
    _require(
        _CHAIN.fullmatch(unit.previous) is not None, what, "its chain is not 16 hexadecimal digits"
    )


def _check_batch(batch: Batch, names: set[str], what: str) -> None:
    _require(batch.records, what, "it holds no records")
    _require(_SESSION.fullmatch(batch.session), what, "its session is not hexadecimal")
    _require(_is_text(batch.source, _MAX_SOURCE), what, "its source is empty or too long")
    _require(
        _is_int64(batch.accepted_at) and _is_int64(batch.monotonic), what, "its time is no time"
    )
    last = batch.counter + batch.records[-1].offset
    _require(batch.counter >= 1 and last < INT64, what, f"its counter is {batch.counter}")
    previous = -1
    for record in batch.records:
        _require(record.offset > previous, what, "its offsets do not rise")
        previous = record.offset
        if record.name not in names:
            _check_name(record.name, what)
            names.add(record.name)
        _check_values(record, what)


def _check_values(record: Record, what: str) -> None:
    _require(_is_int64(record.at), what, f"record «{record.name}» has the time {record.at}")
    _check_value(record.value, MAX_TEXT, record, what)
    if record.meta:
        _check_meta(record.meta, record, what)


def _check_meta(meta: Meta, record: Record, what: str) -> None:
    _require(len(meta) <= MAX_META_KEYS, what, f"«{record.name}» has {len(meta)} meta keys")
    for key, value in meta.items():
        _require(
            len(key) <= MAX_META_TEXT, what, f"«{record.name}» has a meta key that is too long"
        )
        _check_value(value, MAX_META_TEXT, record, what)


def _check_value(value: Value, max_text: int, record: Record, what: str) -> None:
    if isinstance(value, str):
        _require(len(value) <= max_text, what, f"«{record.name}» has a text that is too long")
    elif isinstance(value, int):
        _require(_is_int64(value), what, f"«{record.name}» has a number beyond 64 bits")


def _check_name(name: str, what: str) -> None:
    good = len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None
    _require(good, what, f"«{name[:MAX_NAME]}» is not a name")


def _check_row(node_id: str, row: StateRow, what: str) -> None:
    if not node_may_write(row.entity):
        raise Refused(
            f"cannot take {what}: a node may not write «{row.entity[:64]}», "
            f"only {', '.join(name for name in ENTITIES if node_may_write(name))}"
        )
    if row.entity == "node" and row.id != node_id:
        raise Refused(f"cannot take {what}: node {node_id} may speak only for itself")
    _require(_is_text(row.id, MAX_NAME), what, "a row's id is empty or too long")
    _require(
        0 <= row.rev < INT64 and 0 <= row.hlc < INT64, what, "a revision or clock is no number"
    )
    _require(len(bytes(row.body)) <= _MAX_BODY, what, f"the body of «{row.id}» is too long")
    if not row.deleted:
        decode(row.body, _BODIES[row.entity], f"the body of «{row.entity}/{row.id}»")


def _require(condition: object, what: str, cause: str) -> None:
    if not condition:
        raise InvalidInput(f"cannot take {what}: {cause}")


def _is_int64(number: int) -> bool:
    return -INT64 <= number < INT64


def _is_text(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and "\0" not in text


def _name(unit: PushUnit, index: int) -> str:
    return f"frame {index + 1} of lane {unit.lane}"


def info_of(row: StateRow) -> NodeInfo:
    """The body of a «node» row that `read_frames` has checked."""
    return msgspec.json.decode(row.body, type=NodeInfo)
