"""Whether a place on the device would show what is the node's own. Looks at the disk, for links."""

from __future__ import annotations

import os
from pathlib import Path


def meets(place: Path, private: Path) -> bool:
    """Whether one lies in the other, wherever links lead."""
    real, own = Path(os.path.realpath(place)), Path(os.path.realpath(private))
    return real.is_relative_to(own) or own.is_relative_to(real)
