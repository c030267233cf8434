"""The schedule's child: `python -m skerry.node.backups DESCRIPTOR [ROOM]` makes the next backup of the database.

The descriptor holds what `handing_over` gives. Prints a `Made` as JSON and ends with 0; or prints a sentence and ends with 1, or with
3 when it found damage in the database itself: its agent looks there then. Ends with its agent, whatever ends that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import msgspec

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import SkerryError
from skerry.node.backups.making import DatabaseDamaged, Maker
from skerry.node.handing_over import taken_over

DAMAGED = 3
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Makes one."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(10)
    handed = taken_over(int(sys.argv[1]))
    room = int(sys.argv[2]) if len(sys.argv) > 2 else None
    try:
        made = Maker(handed.settings, RealDisk(), SystemClock(), kek=handed.kek).to_directory(
            "database", room=room
        )
    except DatabaseDamaged as error:
        sys.stderr.write(f"{error}\n")
        return DAMAGED
    except (SkerryError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
