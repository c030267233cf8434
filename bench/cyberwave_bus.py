"""How long a frame takes from a program's publish to a worker's hook, both on Cyberwave's SDK, over TCP and by shared memory."""

from __future__ import annotations

import statistics
from pathlib import Path

from tests.cyberwave_bus import DataBus, hooks
from tests.cyberwave_sdk import FIXTURES

from bench.figures import Figure, summary

FRAMES = 200
BETWEEN = 0.05
REFERENCE = "Reference, recorded over TCP on another day: 2.7 to 5.1 ms"


def figures(place: Path, router: str = "") -> list[Figure]:
    """With a router's endpoint the programs find each other by it, else by multicast."""
    way = "introduced by the node's router" if router else "found by multicast"
    found = []
    for kind, shared in (("TCP", "false"), ("shared memory", "true")):
        directory = place / kind.replace(" ", "-")
        directory.mkdir(parents=True)
        times, by_memory = _times(directory, shared, router)
        found.append(
            Figure(
                "cyberwave",
                f"frame of 640×480×3 bytes, publish → hook by {kind}, {way} (median)",
                statistics.median(times),
                "ms",
                note=f"{summary(times)}; {by_memory} frames were published by shared memory; {1 / BETWEEN:.0f} a second. {REFERENCE}",
            )
        )
    return found


def _times(place: Path, shared: str, router: str) -> tuple[list[float], int]:
    endpoints = {"ZENOH_CONNECT": router} if router else {}
    local = {"ZENOH_SHARED_MEMORY": shared, "ZENOH_LISTEN": "tcp/127.0.0.1:0", **endpoints}
    bus = DataBus(place, "zenoh", **local)
    with bus.workers(FIXTURES / "frames") as log:
        last = f'"n": {FRAMES - 1}'
        told = bus.film(FRAMES, lambda _: last in log.read_text(), BETWEEN)
        return [each["ms"] for each in hooks(log, "frame")], int(told["shm"] or 0)
