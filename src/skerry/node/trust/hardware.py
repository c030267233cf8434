"""Which machine this is, as far as the machine itself says: for tokens that are good for one device only.

What it says proves nothing, for anybody can say it: it keeps a token that went astray from being used by mistake.
"""

from __future__ import annotations

from pathlib import Path

_SOURCES = (
    ("dmi", "sys/class/dmi/id/product_uuid"),
    ("board", "sys/firmware/devicetree/base/serial-number"),
    ("machine", "etc/machine-id"),
)
"""The firmware's id and the board's number stay with the device, the last one with what is installed on it."""


def hardware_id(root: Path = Path("/")) -> str:
    """«dmi:…», «board:…» or «machine:…», the first that this process may read; empty: there is none."""
    for kind, path in _SOURCES:
        try:
            said = (root / path).read_text("ascii").strip("\0\n ").lower()
        except (OSError, UnicodeDecodeError):
            continue
        if set(said) - set("0f-"):  # firmware that was never told its number
            return f"{kind}:{said}"
    return ""
