"""What the limits have to say, as records of the node's own in lane `event`."""

from __future__ import annotations

import logging

from skerry.kit.clock import Clock
from skerry.kit.errors import StorageFull, Transient
from skerry.node.store.own_records import NODE
from skerry.node.store.record_jobs import Submission
from skerry.node.store.records import RecordStore
from skerry.wire.records import Meta, Record, Value

log = logging.getLogger(__name__)


class OwnEvents:
    """Writes events of the node. One that finds no room is in the log only: it must not stop what it tells of."""

    def __init__(self, records: RecordStore, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def tell(self, name: str, value: Value, meta: Meta) -> None:
        """Returns when the event is durable, or given up."""
        now, monotonic = self._clock.wall_ns(), self._clock.monotonic_ns()
        record = Record(0, name, now, value, meta)
        event = Submission(
            "event", NODE, None, 0, now, monotonic, "unsynced", [("event", [record])]
        )
        log.warning("%s: %s", name, value)
        try:
            await self._records.append(event)
        except (StorageFull, Transient) as error:
            log.warning("cannot write event %s: %s", name, error)
