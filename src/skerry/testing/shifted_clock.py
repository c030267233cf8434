"""The machine's clock, wrong by a number of seconds that may change."""

from __future__ import annotations

from skerry.kit.clock import NS, SystemClock


class ShiftedClock(SystemClock):
    """Wall time is `ahead` seconds before its time; what is monotonic stays true."""

    def __init__(self, ahead: float = 0.0) -> None:
        super().__init__()
        self.ahead = ahead

    def wall_ns(self) -> int:
        return super().wall_ns() + int(self.ahead * NS)
