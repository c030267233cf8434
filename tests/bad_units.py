"""Push units that no honest node sends, by what is wrong with them."""

from __future__ import annotations

import msgspec
from tests.hub_rig import Lanes, status

from skerry.wire.codec import encode
from skerry.wire.records import Batch, Record
from skerry.wire.sync import PushUnit, StateFrame, StateRow


def replaced(unit: PushUnit, **fields: object) -> PushUnit:
    """`unit` with other fields."""
    return msgspec.structs.replace(unit, **fields)


def raw_unit(*frames: bytes, **fields: object) -> PushUnit:
    return replaced(Lanes().unit("keep", []), frames=[msgspec.Raw(f) for f in frames], **fields)


def _records(
    *records: Record, counter: int = 1, source: str = "s", session: str = "ab"
) -> PushUnit:
    return raw_unit(
        encode(Batch("measurement", source, session, counter, 1, 1, "synced", list(records)))
    )


BAD = {
    "not JSON": raw_unit(b"\x00\xff garbage"),
    "another shape": raw_unit(b'{"kind":"measurement"}'),
    "a number": raw_unit(b"7"),
    "truncated": raw_unit(b'["measurement","s","ab",1,'),
    "too deep": raw_unit(b"[" * 5000 + b"]" * 5000),
    "no records": raw_unit(encode(Batch("measurement", "s", "ab", 1, 1, 1, "synced", []))),
    "an unknown kind": raw_unit(b'["song","s","ab",1,1,1,"synced",[[0,"a",1,1]]]'),
    "a state frame on a record lane": raw_unit(encode(StateFrame([status("a")]))),
    "first is 0": replaced(_records(Record(0, "a", 1, 1)), first=0),
    "first is negative": replaced(_records(Record(0, "a", 1, 1)), first=-5),
    "first is beyond all": replaced(_records(Record(0, "a", 1, 1)), first=2**63, skipped=True),
    "a chain that is none": replaced(_records(Record(0, "a", 1, 1)), previous="xyz"),
    "an incarnation with NUL": replaced(_records(Record(0, "a", 1, 1)), incarnation="a\0b"),
    "a long boot id": replaced(_records(Record(0, "a", 1, 1)), boot_id="b" * 1000),
    "an empty name": _records(Record(0, "", 1, 1)),
    "a long name": _records(Record(0, "a" * 256, 1, 1)),
    "a name with NUL": _records(Record(0, "a\0", 1, 1)),
    "a long source": _records(Record(0, "a", 1, 1), source="s" * 256),
    "a source with NUL": _records(Record(0, "a", 1, 1), source="s\0"),
    "a session that is none": _records(Record(0, "a", 1, 1), session="'; DROP"),
    "counter 0": _records(Record(0, "a", 1, 1), counter=0),
    "a counter that overflows": _records(Record(5, "a", 1, 1), counter=2**63 - 3),
    "an offset twice": _records(Record(0, "a", 1, 1), Record(0, "a", 2, 1)),
    "a negative offset": _records(Record(-1, "a", 1, 1)),
    "a time beyond 64 bits": _records(Record(0, "a", 2**63, 1)),
    "a value beyond 64 bits": _records(Record(0, "a", 1, -(2**63) - 1)),
    "a float that is none": raw_unit(b'["measurement","s","ab",1,1,1,"synced",[[0,"a",1,1e999]]]'),
    "a value of null": raw_unit(b'["measurement","s","ab",1,1,1,"synced",[[0,"a",1,null]]]'),
    "a text of 70 kB": _records(Record(0, "a", 1, "x" * 70_000)),
    "33 meta keys": _records(Record(0, "a", 1, 1, {f"k{i}": 1 for i in range(33)})),
    "a long meta text": _records(Record(0, "a", 1, 1, {"k": "x" * 2000})),
    "a meta number beyond 64 bits": _records(Record(0, "a", 1, 1, {"k": 2**70})),
    "too many records": raw_unit(*[encode(Batch("measurement", "s", "ab", 1, 1, 1, "synced", [Record(i, "a", 1, 1) for i in range(10_001)]))] * 10),
    "a status that is none": Lanes().unit("state", [StateFrame([StateRow("status", "a", 0, 1, "n")])]),
    "a row without id": Lanes().unit("state", [StateFrame([msgspec.structs.replace(status("a"), id="")])]),
    "a huge revision": Lanes().unit("state", [StateFrame([status("a", rev=2**63)])]),
    "a huge clock": Lanes().unit("state", [StateFrame([status("a", hlc=2**63)])]),
    "a huge body": Lanes().unit("state", [StateFrame([msgspec.structs.replace(status("a"), body=msgspec.Raw(b'"' + b"x" * 2_000_000 + b'"'))])]),
}  # fmt: skip
