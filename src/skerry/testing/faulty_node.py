"""A node process that SIGKILLs itself at the n-th operation of one label, for crash tests with the shipped agent.

    python -m skerry.testing.faulty_node LABEL NTH --data-dir DIR …

Everything but the disk is what `python -m skerry.node` runs. LABEL may be «-»: then nothing is killed and the
labels that occurred are written to DIR/labels.json at the end.
"""

from __future__ import annotations

import json
import logging
import random
import sys

from skerry.kit.clock import SystemClock
from skerry.node.__main__ import settings_from
from skerry.node.handing_over import Handed
from skerry.node.host import Host
from skerry.node.process import live
from skerry.testing.faulty_disk import FaultyDisk, KillingDisk


def main() -> None:
    """Runs the node until it kills itself or is told to stop."""
    label, nth, *words = sys.argv[1:]
    settings, _ = settings_from(words)
    logging.basicConfig(level="INFO", stream=sys.stderr)
    disk = FaultyDisk() if label == "-" else KillingDisk(label, int(nth))
    code = live(Handed(settings), Host(SystemClock(), disk, random.Random(1)))
    (settings.data_dir / "labels.json").write_text(json.dumps(disk.labels))
    sys.exit(code)


if __name__ == "__main__":
    main()
