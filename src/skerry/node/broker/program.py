"""The broker's program on this device: where it is, and what to say where there is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

NAME = "mosquitto"
ELSEWHERE = ("/usr/sbin", "/usr/local/sbin")
"""Where distributions have it, though it is not in everybody's PATH."""


def broker_program(chosen: Path | None) -> Path | None:
    """The one that the settings say, else the first one that there is; None: there is none that could be started."""
    if chosen is not None:
        return chosen if chosen.is_file() and os.access(chosen, os.X_OK) else None
    found = shutil.which(NAME) or shutil.which(NAME, path=os.pathsep.join(ELSEWHERE))
    return Path(found) if found else None


def missing(chosen: Path | None) -> str:
    """What is wrong where there is no program, and what to do."""
    if chosen is not None:
        return f"cyberwave.mosquitto is {chosen}, which is no program. Set it to where mosquitto is, or leave it out"
    return (
        f"no broker for drivers and workers: {NAME} is not in PATH, {' or '.join(ELSEWHERE)}. "
        "Install it (apt install mosquitto; systemctl disable --now mosquitto), or set cyberwave.mosquitto"
    )
