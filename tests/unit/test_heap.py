"""What a process has freed goes back to the system."""

import subprocess
import sys

_FREEING = """
from skerry.kit.heap import give_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

held = [bytes(4000) for _ in range(10_000)]
del held[:-1]
freed = resident()
give_back()
print(freed - resident())
"""


def test_what_lies_free_below_something_in_use_goes_back() -> None:
    pages = subprocess.run(
        [sys.executable, "-c", _FREEING], capture_output=True, text=True, check=True
    ).stdout
    assert int(pages) > 9000
