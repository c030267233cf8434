"""What has become of each lane since the agent started: counted by `push` and `uplink`, shown by `sync.status`."""

from __future__ import annotations

import msgspec

from skerry.wire.local import LaneCounters


class LaneCounts(msgspec.Struct):
    """One lane. `plain` and `compressed` are the bytes of all units that were sent, repeats among them."""

    units: int = 0
    records: int = 0
    plain: int = 0
    compressed: int = 0
    refusals: int = 0
    cuts: int = 0

    def carried(self, plain: int, compressed: int) -> None:
        """A unit is sent."""
        self.plain += plain
        self.compressed += compressed

    def taken(self, records: int) -> None:
        """The hub has a unit with so many records or frames."""
        self.units += 1
        self.records += records

    def shown(self) -> LaneCounters:
        """For people."""
        return LaneCounters(
            self.units, self.records, self.plain, self.compressed, self.refusals, self.cuts
        )
