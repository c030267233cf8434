"""How a spec names a USB device: «usb:VENDOR:PRODUCT[:SERIAL][=/dev/INSIDE]»; «*» stands for any vendor or product."""

from __future__ import annotations

import re

import msgspec

_FORM = re.compile(
    r"usb:(?P<vendor>[0-9a-f]{4}|\*):(?P<product>[0-9a-f]{4}|\*)(:(?P<serial>[^:=\s]{1,126}))?(=(?P<inside>/dev/[^:=\s]+))?"
)


class UsbName(msgspec.Struct, frozen=True):
    """`serial` and `inside` are empty when they are not given."""

    vendor: str
    product: str
    serial: str
    inside: str


def usb_name(item: str) -> UsbName | None:
    """The device that an entry of `devices` names; None when it names none of USB, or any of them."""
    found = _FORM.fullmatch(item)
    if found is None:
        return None
    name = UsbName(found["vendor"], found["product"], found["serial"] or "", found["inside"] or "")
    return None if (name.vendor, name.product, name.serial) == ("*", "*", "") else name
