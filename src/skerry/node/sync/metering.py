"""What a link may cost: the bytes of a calendar month against its cap, and whether the link is paid by the byte.

Used by `turns`. The month is kept in the store every half minute of traffic at most, not with every unit: a killed agent forgets
what came after that. A month is one of UTC.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from skerry.core.turns import counted
from skerry.kit.clock import NS, Clock, iso
from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.units import format_size
from skerry.node.sync.pace import Tell
from skerry.wire.codec import decode, encode

log = logging.getLogger(__name__)

MONTHS = "bytes of months"
"""The fact's name: bytes by month, as JSON."""

WARNED_AT = 80
"""Percent of the cap."""

KEEP_EVERY = 30 * NS
LOOK_EVERY = 30 * NS


class Facts(Protocol):
    """Single facts that survive a restart (`node.store.state.NodeStore`)."""

    async def fact(self, name: str) -> str | None: ...

    async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None: ...


class Month:
    """Counts, and says when the cap is reached; without a `cap` nothing is counted. `tell` hears of 80 % and of the cap."""

    def __init__(self, facts: Facts, cap: int | None, clock: Clock, tell: Tell) -> None:
        self.cap = cap
        self._facts = facts
        self._clock = clock
        self._tell = tell
        self._months: dict[str, int] = {}
        self._loaded = cap is None
        self._kept: dict[str, int] = {}
        self._kept_at: int | None = None
        self._told: tuple[str, int] = ("", 0)

    @property
    def name(self) -> str:
        """The month now, as «2026-11»; empty without a cap."""
        return "" if self.cap is None else iso(self._clock.wall_ns())[:7]

    @property
    def used(self) -> int:
        """Bytes of this month so far."""
        return self._months.get(self.name, 0)

    @property
    def exhausted(self) -> str:
        """Says that the cap is reached; empty: it is not."""
        if self.cap is None or self.used < self.cap:
            return ""
        return f"the {format_size(self.cap)} of {self.name} are used (sync.network.monthly_cap)"

    async def load(self) -> None:
        """Takes up what was counted before this start, once."""
        if self._loaded:
            return
        self._loaded = True
        written = await self._facts.fact(MONTHS)
        if written:
            try:
                before = decode(written.encode(), dict[str, int], "bytes of this month")
            except InvalidInput as error:
                log.warning("%s; the month is counted from now on", error)
                return
            self._kept = dict(before)
            noted, self._months = self._months, before
            for month, size in noted.items():
                self._months = counted(self._months, month, size)
        self._told = (self.name, self._step())

    def add(self, size: int) -> None:
        """So many bytes have travelled."""
        if self.cap is not None and size:
            self._months = counted(self._months, self.name, size)

    async def keep(self, *, at_once: bool = False) -> None:
        """Writes down what was counted when it is time to, and tells when much of the cap is used."""
        if self.cap is None or self._months == self._kept:
            return
        await self._warn()
        now = self._clock.monotonic_ns()
        if not at_once and self._kept_at is not None and now - self._kept_at < KEEP_EVERY:
            return
        self._kept, self._kept_at = dict(self._months), now
        try:
            await self._facts.set_fact(MONTHS, encode(self._months).decode(), durable=False)
        except Transient as error:
            log.info("%s", error)

    async def _warn(self) -> None:
        step, month = self._step(), self.name
        if (month, step) == self._told:
            return
        self._told = (month, step)
        if step and self.cap is not None:
            words = f"{self.used * 100 // self.cap} % of the {format_size(self.cap)} of {month} are used"
            rest = "; only high priority is sent until the month ends" if step > WARNED_AT else ""
            log.warning("%s%s", words, rest)
            await self._tell("skerry.sync.cap", words, {"used": self.used, "cap": self.cap})

    def _step(self) -> int:
        """The last mark that was passed: 0, 80 or 100 percent."""
        percent = self.used * 100 // self.cap if self.cap else 0
        return max((mark for mark in (WARNED_AT, 100) if percent >= mark), default=0)


class Metered:
    """Whether the way out is paid by the byte: as the settings say, or («auto») because it is a cellular modem."""

    def __init__(self, setting: str, clock: Clock, root: Path = Path("/")) -> None:
        self._setting = setting
        self._clock = clock
        self._root = root
        self._found = ""
        self._looked_at: int | None = None

    def cause(self) -> str:
        """Why it is; empty: it is not. With «auto», two small files are read every half minute at most."""
        if self._setting == "yes":
            return "the link is metered (sync.network.metered)"
        if self._setting == "auto":
            now = self._clock.monotonic_ns()
            if self._looked_at is None or now - self._looked_at >= LOOK_EVERY:
                self._looked_at, self._found = now, self._look()
            if self._found:
                return f"the link is metered: {self._found} is a cellular modem"
        return ""

    def _look(self) -> str:
        """The device of the default route, if it is a modem: what the kernel says, no guess by its name."""
        try:
            device = default_device((self._root / "proc/net/route").read_text())
            says = (self._root / "sys/class/net" / device / "uevent").read_text() if device else ""
        except OSError:
            return ""
        return device if "DEVTYPE=wwan" in says.splitlines() else ""


def default_device(routes: str) -> str:
    """The device of the default route with the least metric in /proc/net/route; empty: there is none."""
    found = [fields for line in routes.splitlines()[1:] if len(fields := line.split()) > 7]
    default = [fields for fields in found if fields[1] == fields[7] == "00000000"]
    return min(default, key=lambda fields: int(fields[6]))[0] if default else ""
