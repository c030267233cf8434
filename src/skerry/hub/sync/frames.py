"""Reads the frames of a push unit and refuses what no honest node sends: pure, and the border of the hub.

What passes here fits into the hub's columns on every database, so nothing that a node sends can fail
later. The limits are in the types, so checking costs hardly more than reading.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta

from skerry.core.entities import ENTITIES, node_may_write
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.one_line import one_line
from skerry.wire.codec import decode
from skerry.wire.devices import Outcome
from skerry.wire.records import (
    INT64,
    MAX_META_KEYS,
    MAX_META_TEXT,
    MAX_NAME,
    MAX_TEXT,
    Batch,
    Name,
    Record,
)
from skerry.wire.shared import DECLARATIONS, MAX_ROW, Declaration, Edit, EditFrame
from skerry.wire.sync import ROW_LANES, PushUnit, StateFrame, StateRow
from skerry.wire.workload import NodeInfo, WorkloadStatus

MAX_UNIT_RECORDS = 100_000
"""One unit has the writer to itself; more records than this in one would keep everybody else waiting."""

MAX_UNIT_EDITS = 20_000

_KNOWN_NAMES = 8192

_MAX_POINT = 2**62
_MAX_BODY = 1024 * 1024
_ID = re.compile(r"[0-9A-Za-z_.\-]{1,64}")
_CHAIN = re.compile(r"[0-9a-f]{16}")
_OPENING = {"put": b"{", "patch": b"[", "delete": b"{"}
"""The first byte of the body of each kind of edit."""

_BODIES: dict[str, type[WorkloadStatus] | type[NodeInfo] | type[Outcome]] = {
    "status": WorkloadStatus,
    "node": NodeInfo,
    "outcome": Outcome,
}

_Int64 = Annotated[int, Meta(ge=-INT64, le=INT64 - 1)]
_Count = Annotated[int, Meta(ge=0, lt=_MAX_POINT)]
_Word = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00]*$")]
_MetaText = Annotated[str, Meta(max_length=MAX_META_TEXT)]


class _Record(Record, frozen=True, array_like=True, gc=False):
    """What its name consists of is checked by `_check_names`: matching each would cost more than reading all the rest."""

    offset: _Count
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    at: _Int64
    value: bool | _Int64 | float | Annotated[str, Meta(max_length=MAX_TEXT)]
    meta: (
        Annotated[
            dict[_MetaText, bool | _Int64 | float | _MetaText], Meta(max_length=MAX_META_KEYS)
        ]
        | None
    ) = None


class _Batch(Batch, frozen=True, array_like=True):
    source: _Word
    session: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,64}$")]
    counter: Annotated[int, Meta(ge=1, lt=_MAX_POINT)]
    accepted_at: _Int64
    monotonic: _Int64
    records: Annotated[list[_Record], Meta(min_length=1)]  # type: ignore[assignment]  # narrower, and frozen


class _StateRow(StateRow, frozen=True):
    id: _Word
    rev: _Count
    hlc: Annotated[int, Meta(ge=0, le=INT64 - 1)]


class _StateFrame(StateFrame, frozen=True):
    rows: list[_StateRow]  # type: ignore[assignment]  # narrower, and frozen


_Clock = Annotated[int, Meta(ge=0, le=INT64 - 1)]


class _Edit(Edit, frozen=True, array_like=True):
    id: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    base: Annotated[int, Meta(ge=-1, lt=_MAX_POINT)]
    hlc: _Clock


class _EditFrame(EditFrame, frozen=True):
    entity: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}$(?!\n)")]
    edits: list[_Edit]  # type: ignore[assignment]  # narrower, and frozen
    declared: _Edit | None = None


@dataclass(frozen=True)
class Frames:
    """A unit's frames: batches on a record lane, state frames, or edits of rows. `sizes` counts what each adds to the lane."""

    batches: Sequence[Batch]
    states: Sequence[StateFrame]
    sizes: Sequence[int]
    edits: Sequence[EditFrame] = ()


def read_frames(node_id: str, unit: PushUnit) -> Frames:
    """The frames of `unit`, checked. Raises InvalidInput, or Refused for rows that this node may not write."""
    _check_head(unit)
    if unit.lane == "state":
        states = [
            _read_state(frame, node_id, _place(unit, index))
            for index, frame in enumerate(unit.frames)
        ]
        return Frames([], states, [1] * len(states))
    if unit.lane in ROW_LANES:
        return _read_rows(unit)
    batches = [_read_batch(frame, _place(unit, index)) for index, frame in enumerate(unit.frames)]
    _check_names(batches, unit)
    sizes = [len(batch.records) for batch in batches]
    _require(
        sum(sizes) <= MAX_UNIT_RECORDS,
        f"a unit of {sum(sizes)} records",
        f"send at most {MAX_UNIT_RECORDS} at a time",
    )
    return Frames(batches, [], sizes)


def check_id(text: str, what: str) -> None:
    """Raises InvalidInput unless `text` can be an incarnation or a boot id."""
    _require(_ID.fullmatch(text) is not None, f"{what} «{one_line(text[:64])}»", "it is not an id")


def info_of(row: StateRow) -> NodeInfo:
    """The body of a «node» row that `read_frames` has checked."""
    return msgspec.json.decode(row.body, type=NodeInfo)


def _check_head(unit: PushUnit) -> None:
    check_id(unit.incarnation, "incarnation")
    check_id(unit.boot_id, "boot id")
    what = f"a unit of lane {unit.lane}"
    _require(1 <= unit.first < _MAX_POINT, what, "the number of its first record is out of range")
    _require(
        _CHAIN.fullmatch(unit.previous) is not None, what, "its chain is not 16 hexadecimal digits"
    )


def _read_batch(frame: msgspec.Raw, what: str) -> Batch:
    batch = decode(frame, _Batch, what)
    offsets = [record.offset for record in batch.records]
    if any(map(operator.ge, offsets, offsets[1:])):
        raise InvalidInput(f"cannot take {what}: its offsets do not rise")
    return batch


def _check_names(batches: Sequence[Batch], unit: PushUnit) -> None:
    """All at once, because a unit repeats few names."""
    names = {record.name for batch in batches for record in batch.records}
    if not any(map(_name_fault, names)):
        return
    for number, batch in enumerate(batches):
        for index, record in enumerate(batch.records):
            if fault := _name_fault(record.name):
                what = _place(unit, number)
                raise InvalidInput(f"cannot read {what}: {fault} - at `$[7][{index}][1]`")


@functools.lru_cache(_KNOWN_NAMES)
def _name_fault(name: str) -> str:
    """What is wrong with a record's name; empty when nothing is. Records repeat few names for ever."""
    try:
        _ = msgspec.convert(name, Name)
    except msgspec.ValidationError as error:
        return one_line(str(error))
    return ""


def _read_state(frame: msgspec.Raw, node_id: str, what: str) -> StateFrame:
    state = decode(frame, _StateFrame, what)
    for row in state.rows:
        if not node_may_write(row.entity):
            raise Refused(
                f"cannot take {what}: a node may not write «{one_line(row.entity[:64])}», "
                f"only {', '.join(name for name in ENTITIES if node_may_write(name))}"
            )
        if row.entity == "node" and row.id != node_id:
            raise Refused(f"cannot take {what}: node {node_id} may speak only for itself")
        _require(
            len(bytes(row.body)) <= _MAX_BODY, what, f"the body of «{one_line(row.id)}» is too long"
        )
        if not row.deleted:
            decode(row.body, _BODIES[row.entity], f"the body of «{row.entity}/{one_line(row.id)}»")
    return state


def _read_rows(unit: PushUnit) -> Frames:
    edits = [_read_edits(frame, _place(unit, index)) for index, frame in enumerate(unit.frames)]
    count = sum(len(frame.edits) for frame in edits)
    _require(
        count <= MAX_UNIT_EDITS,
        f"a unit of {count} edits",
        f"send at most {MAX_UNIT_EDITS} at a time",
    )
    return Frames([], [], [1] * len(edits), edits)


def _read_edits(frame: msgspec.Raw, what: str) -> EditFrame:
    """Bodies are not decoded: that they are objects, in UTF-8 and not too long is seen from outside."""
    data = bytes(frame)
    try:
        _ = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"cannot read {what}: it is not UTF-8") from error
    found = decode(frame, _EditFrame, what)
    _check_edits(found, data, what)
    if found.declared is not None:
        if found.declared.id != found.entity or found.declared.kind != "put":
            _refuse(found.declared, what, "it is no declaration of the frame's entity")
        _check_edits(EditFrame(DECLARATIONS, [found.declared]), data, what)
    return found


def _check_edits(found: EditFrame, data: bytes, what: str) -> None:
    """`data` is the frame as it came."""
    for edit in found.edits:
        if memoryview(edit.body)[:1] != _OPENING[edit.kind]:
            _refuse(edit, what, f"the body is not what a {edit.kind} has")
    # Looked for in all at once, because hardly ever there is one.
    if len(data) > MAX_ROW:
        _check_each(
            found, what, lambda edit: len(memoryview(edit.body)) <= MAX_ROW, "it is too long"
        )
    if b"\\u0000" in data:
        _check_each(found, what, lambda edit: "\0" not in edit.id, "that is no id")
    if found.entity == DECLARATIONS:
        for edit in found.edits:
            if edit.kind == "put":
                decode(edit.body, Declaration, f"the declaration of «{one_line(edit.id)}»")


def _check_each(frame: EditFrame, what: str, is_right: Callable[[Edit], bool], cause: str) -> None:
    for edit in frame.edits:
        if not is_right(edit):
            _refuse(edit, what, cause)


def _refuse(edit: Edit, what: str, cause: str) -> NoReturn:
    raise InvalidInput(f"cannot take the edit of «{one_line(edit.id)}» in {what}: {cause}")


def _place(unit: PushUnit, index: int) -> str:
    return f"frame {index + 1} of lane {unit.lane}"


def _require(condition: bool, what: str, cause: str) -> None:  # noqa: FBT001 - a condition is what it takes
    if not condition:
        raise InvalidInput(f"cannot take {what}: {cause}")
