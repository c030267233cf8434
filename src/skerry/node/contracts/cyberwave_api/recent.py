"""Where a twin's joints are, by the records that the node has made of what its driver published."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.core.cyberwave.joints import JointState, states_in
from skerry.core.merging.bodies import Body, decoded
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput
from skerry.node.api.workload import RecordReader
from skerry.node.contracts.cyberwave_api.sources import Frame
from skerry.wire.records import Row

_WINDOW = 600 * NS
"""Older ones are not looked for: records may be many."""

_MOST = 2000


class RecentRecords:
    """A `LastSeen` of joints."""

    def __init__(self, records: RecordReader, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def joints(self, twin: str) -> Mapping[str, JointState]:
        since = self._clock.wall_ns() - _WINDOW
        asked = f"cyberwave/joint/{twin}/*"
        found = await self._records.records(asked, None, since, None, _MOST)
        states: dict[str, JointState] = {}
        for row in found.rows:
            states |= states_in(_told(row))
        return states

    async def frame(self, twin: str, sensor: str) -> Frame | None:  # noqa: ARG002 - the protocol's
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
