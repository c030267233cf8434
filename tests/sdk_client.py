"""The SDK as a workload gets it, on a socket of the test."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from skerry.sdk.client import Client, Timing


def make_client(path: Path, sleep: Callable[[float], None] = time.sleep) -> Client:
    return Client(str(path), Timing(time.time_ns, time.monotonic, sleep), random.Random(7))
