"""Puts together what records: loaded only where a rule, or files to be watched, ask for it."""

from __future__ import annotations

import time

import msgspec

from skerry.runners.zenoh.endings import say
from skerry.runners.zenoh.last import Heard
from skerry.runners.zenoh.recorder import Recorder
from skerry.runners.zenoh.rules import Channels
from skerry.wire.data_bus import BusOrder


def start(text: str) -> Heard:
    """Begins, and returns what is to be told of each sample of the router's."""
    order = msgspec.json.decode(text, type=BusOrder)
    channels = Channels(order.rules, order.twins, say)
    recorder = Recorder(channels, None, time.time_ns, time.monotonic)  # noqa: TID251 - kit.clock needs asyncio
    recorder.start()
    return recorder.heard
