"""What a node pushes, made by hand: records with their names and times, and its workloads' statuses."""

from __future__ import annotations

import msgspec
from tests.hub_rig import SESSION, Lanes

from skerry.wire.codec import encode
from skerry.wire.records import Batch, Meta, Record, Value
from skerry.wire.sync import Lane, PushUnit, StateFrame, StateRow
from skerry.wire.workload import WorkloadStatus


class Pushes:
    """One node's history: every unit continues the one before it."""

    def __init__(self) -> None:
        self._lanes = Lanes()
        self._counter = 1

    def records(
        self,
        lane: Lane,
        values: list[tuple[str, int, Value]],
        *,
        source: str = "host-sensors",
        meta: Meta | None = None,
    ) -> PushUnit:
        """A unit with one batch of (name, at, value)."""
        records = [
            Record(offset, name, at, value, meta) for offset, (name, at, value) in enumerate(values)
        ]
        kind = "event" if lane == "event" else "measurement"
        batch = Batch(kind, source, SESSION, self._counter, values[-1][1], 1, "synced", records)
        self._counter += len(values)
        return self._lanes.unit(lane, [batch])

    def status(self, node_id: str, status: WorkloadStatus, hlc: int) -> PushUnit:
        """A unit with one workload's status."""
        body = msgspec.Raw(encode(status))
        row = StateRow("status", status.workload, 0, hlc, node_id, body=body)
        return self.state(row)

    def state(self, row: StateRow) -> PushUnit:
        """A unit with one row."""
        return self._lanes.unit("state", [StateFrame([row])])
