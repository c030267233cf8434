"""Where a twin's joints are and what its camera saw, by what the node keeps of what its driver published."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

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

_TYPES: Mapping[bytes, str] = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}


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

    async def joints(self, twin: str) -> Mapping[str, JointState]:
        states: dict[str, JointState] = {}
        for row in await self._rows(f"cyberwave/joint/{twin}/*", None, _MOST_JOINTS):
            states |= states_in(_told(row))
        return states

    async def frame(self, twin: str, sensor: str) -> Frame | None:
        rows = await self._rows(f"cyberwave/twin/{twin}/camera/photo", "file", _MOST_PICTURES)
        for row in reversed(rows):
            photo = await self._content(row)
            if photo is None or sensor not in {"", _sensor(photo) or sensor}:
                continue
            picture = _picture(photo)
            if picture is not None:
                return Frame(*picture, row.at // 1_000_000)
        return None

    async def _rows(self, name: str, kind: str | None, most: int) -> list[Row]:
        """The newest of that name, the oldest of them first."""
        since = self._clock.wall_ns() - _WINDOW
        return (await self._records.records(name, kind, since, None, most)).rows

    async def _content(self, row: Row) -> Body | None:
        """What the file says that the record names; None: nothing, or it is not here any more."""
        store = await self._files.store()
        ref = read_reference(row.value)
        kept = None if store is None else store.rows.row(ref.sha256)
        if store is None or kept is None or ref.size > _LARGEST:
            return None
        try:
            return decoded(await asyncio.to_thread(store.read, kept, 0, ref.size))
        except (InvalidInput, Corrupt):
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


def _sensor(photo: Body) -> str:
    found = photo.get("sensor_id") or photo.get("camera_id")
    return found if isinstance(found, str) else ""


def _picture(photo: Body) -> tuple[bytes, str] | None:
    """Its bytes, and of which type they are."""
    image = photo.get("image")
    try:
        data = base64.b64decode(image, validate=True) if isinstance(image, str) else b""
    except binascii.Error:
        return None
    kinds = (kind for begin, kind in _TYPES.items() if data.startswith(begin))
    kind = next(kinds, None)
    return None if kind is None else (data, kind)
