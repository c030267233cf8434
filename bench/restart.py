"""SIGKILL of one of 50 workloads → the stamp that its successor writes itself, beside other supervisors."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from tests.installation import installation

from bench import installed, rig, supervisors
from bench.figures import Figure, summary
from bench.processes import build_stamp, stamps, wait_for_files, wait_for_stamps

SETTLE = 3.0
"""Seconds of life before the first kill: runit restarts at once only what has lived for one."""

SLOW_PEERS = {"supervisord": 10}
"""A peer that takes a second for each is killed fewer times."""


async def run(place: Path) -> list[Figure]:
    """Every supervisor, one after the other."""
    installed.supervisors()
    stamp = build_stamp(place)
    disk = rig.sync_ms(place)
    ours = await _skerry(stamp, place / "a", slow=False)
    slow = await _skerry(stamp, place / "b", slow=True)
    peers = {
        name: _peer(name, stamp, place / name.replace(" ", "-"))
        for name in supervisors.STARTERS
        if not supervisors.missing(name)
    }
    medians = {name: statistics.median(times) for name, times in peers.items()}
    about = f"{rig.UNITS} workloads, each killed once at a random moment; fdatasync of 4 KiB takes {disk:.2f} ms here"
    return [
        Figure(
            "restart",
            "crash → successor's own stamp, a FULL commit in between (median)",
            statistics.median(ours),
            "ms",
            target=5.0,
            peers=medians,
            note=f"{summary(ours)}. {about}. No peer writes anything durable",
        ),
        Figure(
            "restart",
            "the same, each fsync of the agent 20 ms slower (median)",
            statistics.median(slow),
            "ms",
            note=f"{summary(slow)}. bench/slow_sync.c is preloaded into the agent alone",
        ),
        *(
            Figure("restart", f"peer: {name}", statistics.median(times), "ms", note=summary(times))
            for name, times in peers.items()
        ),
    ]


async def _skerry(stamp: Path, place: Path, *, slow: bool) -> list[float]:
    specs = rig.fleet(stamp, place / "s")
    async with installation(place) as found:
        with rig.slow_sync(place) if slow else contextlib.nullcontext():
            await found.started(*specs.values())
        wait_for_files(list(specs))
        return _kill_each(list(specs))


def _peer(name: str, stamp: Path, place: Path) -> list[float]:
    place.mkdir()
    files = [place / f"p{index}" for index in range(rig.UNITS)]
    with supervisors.running(name, stamp, files, place / "work"):
        wait_for_files(files)
        return _kill_each(files[: SLOW_PEERS.get(name, rig.UNITS)])


def _kill_each(files: Sequence[Path]) -> list[float]:
    """Milliseconds from each kill to the successor's start, in random order and at random moments."""
    chance = random.Random(11)
    time.sleep(SETTLE)
    times = []
    for file in chance.sample(list(files), len(files)):
        time.sleep(chance.uniform(0.05, 0.2))
        before = stamps(file)
        killed = time.time_ns()
        os.kill(before[-1][1], signal.SIGKILL)
        after = wait_for_stamps(file, len(before) + 1)
        times.append((after[-1][0] - killed) / 1e6)
    return times
