"""USB devices by vendor, product and serial number, read from the kernel's tree (/sys). Nothing here waits or remembers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from skerry.core.usb_names import UsbName

SYS = Path("/sys")
_ANY = "*"


class UsbDevice(msgspec.Struct, frozen=True):
    """One that is plugged in. `nodes` are its files in /dev, the ones that programs open (tty, video …) first."""

    place: str
    vendor: str
    product: str
    serial: str
    nodes: tuple[str, ...]


def plugged_in(sys_root: Path) -> list[UsbDevice]:
    """Every device with a node in /dev, by its place at the bus. One that vanishes meanwhile is left out."""
    directory = sys_root / "bus/usb/devices"
    try:
        places = sorted(directory.iterdir())
    except OSError:
        return []
    found = (_device(place.name, place.resolve()) for place in places if ":" not in place.name)
    return [device for device in found if device is not None and device.nodes]


def find(wanted: UsbName, devices: Iterable[UsbDevice]) -> UsbDevice | None:
    """The first of the devices that is meant."""
    fits = (
        device
        for device in devices
        if wanted.vendor in {_ANY, device.vendor}
        and wanted.product in {_ANY, device.product}
        and wanted.serial in {"", device.serial}
    )
    return next(fits, None)


def mappings(wanted: UsbName, device: UsbDevice) -> list[tuple[str, str]]:
    """(node, its name inside): each under its own name, the first one under the name that was asked for."""
    first, *others = device.nodes
    return [(first, wanted.inside or first), *((node, node) for node in others)]


def not_there(wanted: Sequence[UsbName]) -> str:
    """For people."""
    which = " and ".join(
        f"with serial {one.serial}" if one.serial else f"{one.vendor}:{one.product}"
        for one in wanted
    )
    return f"USB device {which} is not plugged in"


def _device(place: str, path: Path) -> UsbDevice | None:
    vendor, product = _text(path / "idVendor"), _text(path / "idProduct")
    if not vendor or not product:
        return None
    nodes = sorted({f"/dev/{name}" for name in _nodes(path)}, key=_rank)
    return UsbDevice(place, vendor, product, _text(path / "serial"), tuple(nodes))


def _rank(node: str) -> tuple[bool, str]:
    return node.startswith("/dev/bus/"), node


def _nodes(path: Path) -> Iterator[str]:
    """Names of nodes of the device and its interfaces, but not of devices that are plugged into it (a hub)."""
    try:
        entries = list(path.iterdir())
    except OSError:
        return
    for line in _text(path / "uevent").splitlines():
        if line.startswith("DEVNAME="):
            yield line.removeprefix("DEVNAME=")
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink() and not (entry / "idVendor").exists():
            yield from _nodes(entry)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
