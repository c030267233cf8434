"""Puts together what records: loaded only where a rule, or files to be watched, ask for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgspec

from skerry.runners.zenoh.directories import Directories
from skerry.runners.zenoh.endings import say
from skerry.runners.zenoh.events import Events
from skerry.runners.zenoh.last import Heard
from skerry.runners.zenoh.recorder import Recorder
from skerry.runners.zenoh.ring import Ring, own_cipher
from skerry.runners.zenoh.rules import Channels
from skerry.runners.zenoh.settings import home
from skerry.wire.data_bus import BusOrder


def start(text: str) -> Heard:
    """Begins, and returns what is to be told of each sample of the router's."""
    order = msgspec.json.decode(text, type=BusOrder)
    recorder = Recorder(
        Channels(order.rules, order.twins, say),
        _ring(order),
        time.time_ns,  # noqa: TID251 - kit.clock needs asyncio
        time.monotonic,
    )
    recorder.start()
    if order.directories:
        files = Directories(Path(order.directories), recorder.wants, recorder.heard)
        threading.Thread(target=files.follow, name="directories", daemon=True).start()
        say(f"samples are read in {order.directories}")
    return recorder.heard


def _ring(order: BusOrder) -> Ring | None:
    rules = [rule for rule in order.rules if rule.kept == "ring"]
    if not rules:
        return None
    wanted = order.ring
    cipher = own_cipher() if wanted.sealed else None
    ring = Ring(home() / "ring", wanted.seconds, wanted.size, time.monotonic, cipher)
    Events(ring, rules, order.twins, time.monotonic).start()
    return ring
