"""How often one address may try enrolment tokens that are none. In memory: tokens are too long to be guessed anyway.

So this keeps the log, the database and the processor from whoever tries all the same. Devices behind one address share
it, therefore only wrong tokens count.
"""

from __future__ import annotations

from collections import deque

from skerry.hub.trust.attempts import network_of
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Busy

WINDOW = 3600
"""Seconds for which a failure counts."""

_MOST = 10_000
"""Addresses; who comes with more makes the oldest be forgotten."""


class EnrolmentRate:
    """At most `limit` failures an hour and address."""

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._failures: dict[str, deque[int]] = {}

    def check(self, address: str) -> None:
        """Raises Busy when the address has to wait."""
        failures = self._failures.get(network_of(address))
        if failures is None or len(failures) < self._limit:
            return
        left = failures[0] + WINDOW * NS - self._clock.monotonic_ns()
        if left > 0:
            raise Busy(
                "cannot enrol: too many wrong tokens came from this address. Wait, and create a new token on the hub: "
                "skerry token create",
                -(-left // NS),
            )

    def failed(self, address: str) -> None:
        """A token from there was none."""
        network = network_of(address)
        failures = self._failures.pop(network, None) or deque(maxlen=self._limit)
        failures.append(self._clock.monotonic_ns())
        self._failures[network] = failures
        if len(self._failures) > _MOST:
            del self._failures[next(iter(self._failures))]
