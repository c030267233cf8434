"""What a process loads once and for all is not searched for garbage."""

from __future__ import annotations

import subprocess
import sys

FROZEN = """
import gc
from skerry.kit.collector import uncollected
counts = []
for _ in range(2):
    with uncollected():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    counts.append(gc.get_freeze_count())
assert counts[0] > 1000 and counts[1] <= counts[0] + 10, counts
"""


def test_what_is_made_at_first_is_frozen_and_nothing_later() -> None:
    subprocess.run([sys.executable, "-c", FROZEN], check=True)
