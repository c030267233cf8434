"""Publishes this machine's figures (processor, memory, disk, load, temperature, network) every INTERVAL.

    python -m skerry.samples.host_sensors        INTERVAL: «1s», DISK: the path whose file system is watched

Reads /proc and /sys; what a machine does not have is left out. The names and their units: examples/README.md.
Prints what it found, and once a minute how the machine was. The parsing is pure; `main` is the loop.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skerry import sdk
from skerry.samples import settings
from skerry.samples.log import say

SUMMARY_EVERY = 60.0
"""Seconds between two lines in the log."""

Figures = Mapping[str, int | float]


@dataclass(frozen=True)
class Totals:
    """Counters that only make sense as differences. Seconds are since boot."""

    seconds: float
    busy: int
    total: int
    received: int
    sent: int


def cpu_ticks(stat: str) -> tuple[int, int]:
    """Busy and total ticks of all processors since boot, from /proc/stat."""
    ticks = [int(word) for word in stat.splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]  # idle and waiting for the disk
    return sum(ticks) - idle, sum(ticks)


def memory_bytes(meminfo: str) -> tuple[int, int]:
    """Total and used bytes, from /proc/meminfo. Used is what could not be given to a new program."""
    sizes = {}
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * 1024
    return sizes["MemTotal"], sizes["MemTotal"] - sizes["MemAvailable"]


def network_bytes(net_dev: str) -> tuple[int, int]:
    """Received and sent bytes of all interfaces but the loopback, from /proc/net/dev."""
    received = sent = 0
    for line in net_dev.splitlines()[2:]:
        interface, _, rest = line.partition(":")
        if interface.strip() != "lo":
            columns = rest.split()
            received += int(columns[0])
            sent += int(columns[8])
    return received, sent


def rates(before: Totals, after: Totals) -> list[tuple[str, float]]:
    """What happened between two readings, per second or in percent."""
    seconds = after.seconds - before.seconds
    ticks = after.total - before.total
    found = []
    if ticks > 0:
        found.append(("host.cpu.percent", round(100 * max(0, after.busy - before.busy) / ticks, 1)))
    if seconds > 0:
        found += [
            (f"host.network.{way}.bytes_per_second", round(max(0, count) / seconds, 1))
            for way, count in (
                ("rx", after.received - before.received),
                ("tx", after.sent - before.sent),
            )
        ]
    return found


class Host:
    """The files of one machine, below `root`."""

    def __init__(self, root: Path, disk: Path) -> None:
        self._proc = root / "proc"
        self._thermal = root / "sys/class/thermal"
        self._disk = disk

    def totals(self) -> Totals:
        """The counters at this moment."""
        busy, total = cpu_ticks((self._proc / "stat").read_text())
        received, sent = network_bytes((self._proc / "net/dev").read_text())
        return Totals(self._uptime(), busy, total, received, sent)

    def figures(self) -> list[tuple[str, int | float]]:
        """What can be read at one moment."""
        memory, used = memory_bytes((self._proc / "meminfo").read_text())
        disk = os.statvfs(self._disk)
        disk_used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        usable = disk_used + disk.f_bavail * disk.f_frsize
        loads = (self._proc / "loadavg").read_text().split()
        return [
            ("host.memory.total", memory),
            ("host.memory.used", used),
            ("host.memory.percent", round(100 * used / memory, 1)),
            ("host.disk.used", disk_used),
            ("host.disk.percent", round(100 * disk_used / max(usable, 1), 1)),
            ("host.load.1m", float(loads[0])),
            ("host.load.5m", float(loads[1])),
            ("host.load.15m", float(loads[2])),
            ("host.uptime", int(self._uptime())),
        ]

    def temperatures(self) -> Iterator[sdk.Measurement]:
        """Degrees Celsius of each thermal zone that can be read."""
        for zone in sorted(self._thermal.glob("thermal_zone*")):
            try:
                degrees = int((zone / "temp").read_text()) / 1000
                kind = (zone / "type").read_text().strip()
            except (OSError, ValueError):
                continue  # a zone may be there without a working sensor
            meta: sdk.Meta = {"zone": zone.name, "type": kind}
            yield sdk.Measurement("host.temperature", degrees, meta=meta)

    def _uptime(self) -> float:
        return float((self._proc / "uptime").read_text().split()[0])


def found_line(interval: float, figures: Figures, temperatures: int) -> str:
    """What is published from now on."""
    names = " ".join(name.removeprefix("host.") for name in sorted(figures))
    return f"publishing every {interval:g} s: {names}; temperatures: {temperatures or 'none'}"


def summary_line(readings: Sequence[Figures]) -> str:
    """How the machine was in the time of `readings` (at least one), the newest last."""
    last = readings[-1]
    cpu = [reading["host.cpu.percent"] for reading in readings if "host.cpu.percent" in reading]
    busy = f"cpu {sum(cpu) / len(cpu):.1f} % (highest {max(cpu):.1f} %), " if cpu else ""
    return (
        f"readings published: {len(readings)}; {busy}memory {last['host.memory.percent']:.1f} %, "
        f"disk {last['host.disk.percent']:.1f} %, load {last['host.load.1m']:g}"
    )


def next_tick(due: float, now: float, interval: float) -> float:
    """The first tick after `now` on the grid that `due` lies on: ticks do not drift, missed ones are left out."""
    following = due + interval
    if following <= now:
        following += ((now - following) // interval + 1) * interval
    return following


def main() -> None:
    """Publishes until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    interval = sdk.parse_duration(settings.text("INTERVAL", "1s"))
    host = Host(Path("/"), Path(settings.text("DISK", "/")))
    before = host.totals()
    due = time.monotonic()
    started = False
    readings: list[Figures] = []
    summary_due = due + SUMMARY_EVERY
    while True:
        due = next_tick(due, time.monotonic(), interval)
        time.sleep(max(0.0, due - time.monotonic()))
        after = host.totals()
        figures = [*rates(before, after), *host.figures()]
        temperatures = list(host.temperatures())
        sdk.publish_many([*figures, *temperatures])
        if not started:
            say(found_line(interval, dict(figures), len(temperatures)))
            started = True
        before = after
        readings.append(dict(figures))
        if due >= summary_due:
            say(summary_line(readings))
            readings.clear()
            summary_due = due + SUMMARY_EVERY


if __name__ == "__main__":
    main()
