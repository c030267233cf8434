"""The child's environment, as far as it needs it."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The workload's own directory."""
    return Path(os.environ["HOME"])  # noqa: TID251 - this is the runner's settings module
