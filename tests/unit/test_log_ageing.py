"""Logs that grow old: rotated and removed while they are written, and when nobody writes them."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.keeper.log_file import LogFile, moment, stamp
from skerry.keeper.log_rules import LogRules
from skerry.keeper.logs import Output
from skerry.kit.clock import NS
from skerry.node.workloads.log_ageing import LogAgeing
from skerry.testing.manual_clock import ManualClock

START = 1_795_228_000 * NS
AGED = LogRules(1000, 5, 600.0)


class Time:
    """A clock with timers, as the loops of keeper and agent have them."""

    def __init__(self) -> None:
        self.now = START
        self.timers: list[tuple[int, Callable[[], object]]] = []

    def later(self, seconds: float, callback: Callable[[], object]) -> None:
        self.timers.append((self.now + round(seconds * NS), callback))

    def advance(self, seconds: int) -> None:
        end = self.now + seconds * NS
        while due := [timer for timer in self.timers if timer[0] <= end]:
            first = min(due, key=lambda timer: timer[0])
            self.timers.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = end


@pytest.fixture
def time() -> Time:
    return Time()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if "fifo" not in path.name)


def write(log: LogFile, time: Time, text: bytes = b"x") -> None:
    log.append([stamp(time.now) + b" stdout F " + text + b"\n"])
    os.utime(log.path, ns=(time.now, time.now))  # the file system's clock stands for ours


@given(st.integers(0, 4_000_000_000 * NS))
def test_stamps_are_read_back(now: int) -> None:
    assert moment(stamp(now)) == now
    assert moment(stamp(now) + b" stdout F text") == now


def test_what_is_no_stamp_has_no_time() -> None:
    assert moment(b"") is None
    assert moment(b"torn line of a keeper that died") is None
    known = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
    assert moment(b"2024-02-29T23:59:59.000000000Z") == int(known.timestamp()) * NS


def test_a_file_whose_first_line_is_old_is_rotated_and_goes_when_its_last_one_is(
    time: Time, tmp_path: Path
) -> None:
    log = LogFile(str(tmp_path / "log"), AGED, lambda: time.now, time.later)
    log.obey(AGED)
    write(log, time, b"first")
    time.advance(300)
    write(log, time, b"second")
    time.advance(299)
    assert names(tmp_path) == ["log"]
    time.advance(301)  # nobody writes: its own timer does it
    assert names(tmp_path) == ["log", "log.1"]
    write(log, time, b"third")
    time.advance(599)
    assert names(tmp_path) == ["log"]
    assert "third" in (tmp_path / "log").read_text()
    time.advance(1200)
    assert (tmp_path / "log").read_text() == ""
    assert names(tmp_path) == ["log"]
    log.close()


def test_a_silent_log_of_an_adopted_workload_ages_too(time: Time, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(stamp(START - 700 * NS) + b" stdout F old\n")
    os.utime(path, ns=(START - 100 * NS, START - 100 * NS))
    output = Output(str(path), AGED, lambda: time.now, time.later)
    output.obey(AGED)
    assert names(tmp_path) == ["log", "log.1"]
    time.advance(501)
    assert names(tmp_path) == ["log"]
    output.close(b"F")
    time.advance(7200)
    assert time.timers == []


def test_a_log_without_an_age_needs_no_timer(time: Time, tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), LogRules(1000, 5), lambda: time.now, time.later)
    log.obey(LogRules(1000, 5))
    write(log, time)
    assert time.timers == []
    log.obey(AGED)
    log.obey(AGED)
    assert len(time.timers) == 1
    log.obey(LogRules(1000, 5))
    time.advance(7200)
    assert names(tmp_path) == ["log"]
    assert time.timers == []
    log.close()


def test_one_file_only(time: Time, tmp_path: Path) -> None:
    rules = LogRules(1000, 1, 60.0)
    log = LogFile(str(tmp_path / "log"), rules, lambda: time.now, time.later)
    log.obey(rules)
    write(log, time)
    time.advance(61)
    assert (tmp_path / "log").read_text() == ""
    write(log, time, b"next")
    assert "next" in (tmp_path / "log").read_text()
    log.close()


async def test_logs_of_ended_workloads_age(tmp_path: Path) -> None:
    clock = ManualClock()
    now = clock.wall_ns()
    for workload in ("ended", "busy", "open", "ageless"):
        (tmp_path / workload).mkdir()
        for number, age in (("", 700), (".1", 800), (".2", 900)):
            path = tmp_path / workload / f"current.log{number}"
            path.write_text("old\n")
            at = now - age * NS
            os.utime(path, ns=(at, at))
    ageing = LogAgeing(
        lambda workload: tmp_path / workload / "current.log",
        lambda: {"ended": 850.0, "busy": 1.0, "open": 1.0, "never ran": 1.0},
        lambda: {"busy"},
        lambda path: path.parent.name == "open",
        clock,
    )
    await ageing.once()
    assert names(tmp_path / "ended") == ["current.log", "current.log.1"]
    clock.advance(200)
    await ageing.once()
    assert names(tmp_path / "ended") == []
    for workload in ("busy", "open", "ageless"):
        assert len(names(tmp_path / workload)) == 3
