"""What a node pushes, made by hand: batches of measurements and events, and its workloads' statuses."""

from __future__ import annotations

import msgspec

from skerry.core.lanes import extend
from skerry.wire.codec import encode
from skerry.wire.records import Batch, Kind, Meta, Record, Value
from skerry.wire.sync import NO_CHAIN, Lane, PushUnit, StateFrame, StateRow
from skerry.wire.workload import WorkloadStatus

SESSION = "5e551011" * 4


class Lanes:
    """One node's history: every unit continues the one before it."""

    def __init__(self, incarnation: str = "incarnation-1") -> None:
        self._incarnation = incarnation
        self._points: dict[Lane, tuple[int, str]] = {}
        self._counter = 0

    def records(
        self,
        lane: Lane,
        values: list[tuple[str, int, Value]],
        *,
        source: str = "host-sensors",
        meta: Meta | None = None,
    ) -> PushUnit:
        """A unit with one batch of (name, at, value)."""
        kind: Kind = "event" if lane == "event" else "measurement"
        batch = Batch(
            kind=kind,
            source=source,
            session=SESSION,
            counter=self._counter + 1,
            accepted_at=values[-1][1],
            monotonic=1,
            quality="synced",
            records=[
                Record(offset, name, at, value, meta)
                for offset, (name, at, value) in enumerate(values)
            ],
        )
        self._counter += len(values)
        return self._unit(lane, encode(batch), len(values))

    def status(self, node_id: str, status: WorkloadStatus, hlc: int) -> PushUnit:
        """A unit with one workload's status."""
        row = StateRow("status", status.workload, 0, hlc, node_id, body=msgspec.Raw(encode(status)))
        return self._unit("state", encode(StateFrame([row])), 1)

    def _unit(self, lane: Lane, frame: bytes, size: int) -> PushUnit:
        n, chain = self._points.get(lane, (0, NO_CHAIN))
        self._points[lane] = (n + size, extend(chain, frame))
        return PushUnit(self._incarnation, lane, n + 1, chain, "boot-1", [msgspec.Raw(frame)])
