"""Events that the node itself tells, of source «skerry»: what it did for its workloads, for example fetched an image."""

from __future__ import annotations

import logging
from collections.abc import Callable

from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, Transient
from skerry.node.store.own_records import NODE
from skerry.node.store.record_jobs import Submission
from skerry.node.store.records import RecordStore
from skerry.wire.records import ClockQuality, Meta, Record, Value

log = logging.getLogger(__name__)


class OwnEvents:
    """The way into the record store for the node's own events. `quality` says how good the clock is at the moment."""

    def __init__(
        self, records: RecordStore, clock: Clock, quality: Callable[[], ClockQuality]
    ) -> None:
        self._records = records
        self._clock = clock
        self._quality = quality

    async def tell(self, name: str, value: Value, meta: Meta) -> None:
        """Writes one event; `name` begins with «skerry.». What is told must go on, so a full store is only logged."""
        now = self._clock.wall_ns()
        try:
            await self._records.append(
                Submission(
                    kind="event",
                    source=NODE,
                    session=None,
                    first=0,
                    accepted_at=now,
                    monotonic=self._clock.monotonic_ns(),
                    quality=self._quality(),
                    parts=[("event", [Record(0, name, now, value, meta or None)])],
                )
            )
        except (Refused, Transient) as error:
            log.warning("cannot tell event %s «%s»: %s", name, value, error)
