"""The samples' decisions: reading a machine's figures, ticking without drift, telling a limit's crossing once."""

from pathlib import Path

import pytest

from skerry.samples.disk_watch import Crossing, Limit, crossing, described, read_limits
from skerry.samples.host_sensors import (
    Host,
    Totals,
    cpu_ticks,
    found_line,
    memory_bytes,
    network_bytes,
    next_tick,
    rates,
    summary_line,
)
from skerry.sdk import InvalidInput, Measurement

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9999 1 0 0 0 0 0 0 9999 1 0 0 0 0 0 0
  eth0:1000 2 0 0 0 0 0 0 300 4 0 0 0 0 0 0
 wlan0: 50 2 0 0 0 0 0 0 7 4 0 0 0 0 0 0
"""


def test_proc_files_are_read() -> None:
    assert cpu_ticks("cpu  10 1 5 100 20 2 3 1 50 50\ncpu0 1 1 1 1 1 1 1 1 1 1\n") == (22, 142)
    assert memory_bytes("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n") == (
        1_024_000,
        768_000,
    )
    assert network_bytes(NET_DEV) == (1050, 307)


def test_rates_are_differences() -> None:
    before = Totals(seconds=10, busy=100, total=1000, received=500, sent=40)
    after = Totals(seconds=12, busy=150, total=1200, received=1500, sent=40)
    assert rates(before, after) == [
        ("host.cpu.percent", 25.0),
        ("host.network.rx.bytes_per_second", 500.0),
        ("host.network.tx.bytes_per_second", 0.0),
    ]
    assert rates(before, before) == []


def test_this_machine_has_figures(tmp_path: Path) -> None:
    host = Host(Path("/"), tmp_path)
    figures = dict(host.figures())
    assert 0 < figures["host.memory.used"] < figures["host.memory.total"]
    assert 0 <= figures["host.disk.percent"] <= 100
    assert {"host.load.1m", "host.load.5m", "host.load.15m", "host.uptime"} <= figures.keys()
    assert host.totals().total > 0


def test_each_thermal_zone_that_works_is_read(tmp_path: Path) -> None:
    for name, temp in (("thermal_zone0", "45123"), ("thermal_zone1", ""), ("thermal_zone2", None)):
        zone = tmp_path / "sys/class/thermal" / name
        zone.mkdir(parents=True)
        (zone / "type").write_text("cpu\n")
        if temp is not None:
            (zone / "temp").write_text(temp)
    assert list(Host(tmp_path, tmp_path).temperatures()) == [
        Measurement("host.temperature", 45.123, meta={"zone": "thermal_zone0", "type": "cpu"})
    ]
    assert list(Host(tmp_path / "nothing", tmp_path).temperatures()) == []


def test_what_host_sensors_prints() -> None:
    figures = {"host.load.1m": 0.5, "host.cpu.percent": 1.0}
    assert found_line(1.0, figures, 2) == (
        "publishing every 1 s: cpu.percent load.1m; temperatures: 2"
    )
    assert found_line(0.5, figures, 0).endswith("; temperatures: none")
    reading = {"host.memory.percent": 45.0, "host.disk.percent": 70.1, "host.load.1m": 0.52}
    assert summary_line([{**reading, "host.cpu.percent": percent} for percent in (10.0, 30.0)]) == (
        "readings published: 2; cpu 20.0 % (highest 30.0 %), memory 45.0 %, disk 70.1 %, load 0.52"
    )
    assert summary_line([reading]).startswith("readings published: 1; memory 45.0 %")


def test_what_disk_watch_prints_at_its_start() -> None:
    limit = Limit("host.disk.percent", above=90, below=88)
    assert described(limit, high=False) == "host.disk.percent (limit 90, normal again at 88)"
    assert described(limit, high=True).endswith("at 88, above it at present)")


@pytest.mark.parametrize(
    ("due", "now", "following"),
    [(10, 10.0, 11), (10, 10.9, 11), (10, 11.0, 12), (10, 11.2, 12), (10, 57.5, 58)],
)
def test_ticks_stay_on_their_grid_and_missed_ones_are_left_out(
    due: float, now: float, following: float
) -> None:
    assert next_tick(due, now, 1.0) == following


def test_a_crossing_is_told_once_in_each_direction() -> None:
    limit = Limit("host.disk.percent", above=90, below=88)
    told, high = [], False
    for value in (50, 90, 91, 95, 89, 91, 88, 90, 87, 92):
        crossed = crossing(limit, value, high=high)
        if crossed is not None:
            high = crossed.high
            told.append((value, crossed.name))
    assert told == [
        (91, "host.disk.percent.high"),
        (88, "host.disk.percent.normal"),
        (92, "host.disk.percent.high"),
    ]
    assert crossing(limit, 91.5, high=False) == Crossing(
        "host.disk.percent.high",
        "host.disk.percent is 91.5, above its limit of 90",
        high=True,
    )


def test_limits_are_read_from_words() -> None:
    assert read_limits("a.b=1.5, c=2", 0.5) == {
        "a.b": Limit("a.b", 1.5, 1.0),
        "c": Limit("c", 2, 1.5),
    }
    for wrong in ("a", "a=", "a=b"):
        with pytest.raises(InvalidInput, match="write it as host"):
            read_limits(wrong, 0)
