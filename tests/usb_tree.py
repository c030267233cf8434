"""A /sys that USB devices are plugged into."""

from __future__ import annotations

import shutil
from pathlib import Path


class Tree:
    """A /sys that devices are plugged into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bus/usb/devices").mkdir(parents=True)

    def plug(self, place: str, ids: str, serial: str = "", **nodes: str) -> Path:
        """`nodes` are directories of interfaces, with the names of their nodes in /dev."""
        path = self.root / "devices/pci0/usb1" / place
        self._entry(path, {"uevent": f"DEVNAME=bus/usb/001/{len(place):03}\n"})
        vendor, _, product = ids.partition(":")
        self._entry(path, {"idVendor": f"{vendor}\n", "idProduct": f"{product}\n"})
        if serial:
            self._entry(path, {"serial": f"{serial}\n"})
        for directory, name in nodes.items():
            inner = path / f"{place}:1.0" / directory / name
            self._entry(inner, {"uevent": f"MAJOR=1\nDEVNAME={name}\n"})
            (inner / "subsystem").symlink_to(self.root)
        (self.root / "bus/usb/devices" / place).symlink_to(path)
        (self.root / "bus/usb/devices" / f"{place}:1.0").symlink_to(path)
        return path

    def unplug(self, place: str) -> None:
        (self.root / "bus/usb/devices" / place).unlink()
        (self.root / "bus/usb/devices" / f"{place}:1.0").unlink()
        shutil.rmtree(self.root / "devices/pci0/usb1" / place)

    def _entry(self, path: Path, files: dict[str, str]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (path / name).write_text(text)
