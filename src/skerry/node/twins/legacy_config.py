"""What older versions of Cyberwave's command line left in /etc/cyberwave, copied into the configuration directory once."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from skerry.kit.disk import Disk

LEGACY = Path("/etc/cyberwave")
"""Where older versions had their files."""

MIGRATED = ".migrated"
"""Its being there says that nothing is migrated any more: who has signed out stays so."""

COPIES = "config.migrate"
"""The label of the writes that copy a file."""

_LARGEST = 4 << 20

log = logging.getLogger(__name__)


def mark_of(legacy: Path) -> bytes:
    """What stands in `MIGRATED`."""
    return f"{legacy}\n".encode()


def migrate(legacy: Path | None, directory: Path, disk: Disk) -> None:
    """Copies the JSON files of an older version, once, and none over another. Raises OSError."""
    if legacy is None or not legacy.is_dir() or legacy.resolve() == directory.resolve():
        return
    mark = directory / MIGRATED
    if os.path.lexists(mark):
        return
    copied = []
    for source in sorted(legacy.glob("*.json")):
        target = directory / source.name
        if os.path.lexists(target) or not source.is_file():
            continue
        with source.open("rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            log.warning("%s has more than %d bytes: it is not migrated", source, _LARGEST)
            continue
        disk.write_atomic(COPIES, target, text)
        copied.append(source.name)
    disk.write_atomic("config.migrated", mark, mark_of(legacy))
    if copied:
        log.info("copied %s from %s to %s", ", ".join(copied), legacy, directory)
