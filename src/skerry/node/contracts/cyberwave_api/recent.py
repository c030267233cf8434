"""Where a twin's joints are and what its camera saw, by what the node keeps of what its driver published."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from skerry.core.cyberwave.joints import JointState, states_in
from skerry.core.merging.bodies import Body, decoded
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Corrupt, InvalidInput
from skerry.node.api.workload import RecordReader
from skerry.node.contracts.cyberwave_api.sources import Frame
from skerry.wire.files import read_reference
from skerry.wire.records import Row

if TYPE_CHECKING:
    from skerry.node.files.store import FileStore

_WINDOW = 600 * NS
"""Older ones are not looked for: records may be many."""

_MOST_JOINTS, _MOST_PICTURES = 2000, 20
_LARGEST = 16 * 1024 * 1024
_LONGEST_ID = 1000

_TYPES: Mapping[bytes, str] = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}


class _Photo(msgspec.Struct, frozen=True):
    """What counts of a `camera/photo`; all else in it is passed over, or it might take thirty times its length in memory."""

    image: str = ""
    sensor_id: msgspec.Raw = msgspec.Raw(b"null")
    camera_id: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def sensor(self) -> str:
        """Which camera has taken it; empty: it does not say."""
        for said in (self.sensor_id, self.camera_id):
            found = msgspec.json.decode(said) if len(bytes(said)) <= _LONGEST_ID else None
            if isinstance(found, str) and found:
                return found
        return ""


class Files(Protocol):
    """Contents of files (`files.on_demand`)."""

    async def store(self) -> FileStore | None:
        """Where they are; None: there are none. Raises Transient."""
        ...


class Recent:
    """A `LastSeen`, of the last ten minutes."""

    def __init__(self, records: RecordReader, files: Files, clock: Clock) -> None:
        self._records = records
        self._files = files
        self._clock = clock
        self._in_turn = asyncio.Lock()
        """One picture at a time is in memory, however many ask."""

    async def joints(self, twin: str) -> Mapping[str, JointState]:
        states: dict[str, JointState] = {}
        for row in await self._rows(f"cyberwave/joint/{twin}/*", None, _MOST_JOINTS):
            states |= states_in(_told(row))
        return states

    async def frame(self, twin: str, sensor: str) -> Frame | None:
        rows = await self._rows(f"cyberwave/twin/{twin}/camera/photo", "file", _MOST_PICTURES)
        async with self._in_turn:
            for row in reversed(rows):
                photo = await self._photo(row)
                if photo is None or sensor not in {"", photo.sensor or sensor}:
                    continue
                picture = _picture(photo.image)
                if picture is not None:
                    return Frame(*picture, row.at // 1_000_000)
        return None

    async def _rows(self, name: str, kind: str | None, most: int) -> list[Row]:
        """The newest of that name, the oldest of them first."""
        since = self._clock.wall_ns() - _WINDOW
        return (await self._records.records(name, kind, since, None, most)).rows

    async def _photo(self, row: Row) -> _Photo | None:
        """What the file says that the record names; None: nothing, or it is not here any more."""
        store = await self._files.store()
        ref = read_reference(row.value)
        kept = None if store is None else store.rows.row(ref.sha256)
        if store is None or kept is None or ref.size > _LARGEST:
            return None
        try:
            content = await asyncio.to_thread(store.read, kept, 0, ref.size)
            return msgspec.json.decode(content, type=_Photo)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Corrupt):
            return None


def _told(row: Row) -> Body:
    """The payload that became the record, as far as it says joints."""
    if isinstance(row.value, str):
        try:
            return decoded(row.value.encode())
        except InvalidInput:
            return {}
    state: Body = {"position": row.value}
    state |= {key: row.meta.get(key) for key in ("velocity", "effort")}
    name = str(row.meta.get("joint", row.name.rpartition("/")[2]))
    return {"joint_name": name, "joint_state": state}


def _picture(image: str) -> tuple[bytes, str] | None:
    """Its bytes, and of which type they are."""
    try:
        data = base64.b64decode(image, validate=True)
    except ValueError:
        return None
    kinds = (kind for begin, kind in _TYPES.items() if data.startswith(begin))
    kind = next(kinds, None)
    return None if kind is None else (data, kind)
