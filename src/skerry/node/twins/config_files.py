"""What stands in the files of the configuration directory that are no twin's: pure. `docs/reference/cyberwave.md` has them.

The command line of Cyberwave writes them, in several versions of several ages, and people do: of what a file has, what
can be used is used, and what cannot is told. A token is never a part of what is told.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import msgspec

from skerry.core.cyberwave.json_objects import Object
from skerry.core.cyberwave.names import is_fingerprint, is_uuid
from skerry.core.names import looks_secret
from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line

PREFIXES = ("CYBERWAVE_", "ZENOH_")
"""Variables that are Cyberwave's."""

_SHOWN = 40
_MAX_VALUE = 32 * 1024
_STABLE_PLACES = ("/dev/v4l/by-id/", "/dev/v4l/by-path/")
_NUMBERED = "/dev/video"
_SERIAL = "serial:"

EVERY_OTHER = ""
"""Among the devices by twin: the one of twins that have none of their own."""


class Credentials(msgspec.Struct, frozen=True):
    """credentials.json. `overrides` are images by twin; `faults` what of it cannot be used."""

    token: str = ""
    variables: Mapping[str, str] = {}
    overrides: Mapping[str, str] = {}
    faults: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Credentials({sorted(self.variables)})"


def variables_in(given: Mapping[str, str]) -> dict[str, str]:
    """Those of Cyberwave's in an environment, but none that holds a secret: no container gets the device's own."""
    return {
        name: value
        for name, value in sorted(given.items())
        if name.startswith(PREFIXES) and not looks_secret(name) and not _value_fault(value)
    }


def credentials_of(content: Object) -> Credentials:
    """What credentials.json says."""
    faults: list[str] = []
    token = content.get("token")
    if not isinstance(token, str) or not _is_word(token.strip()):
        faults.append("has no «token»")
        token = ""
    return Credentials(
        token.strip(),
        variables_in(_texts(content.get("envs"), "envs", faults)),
        {
            twin: image.strip()
            for twin, image in _texts(
                content.get("driver_overrides"), "driver_overrides", faults
            ).items()
            if _is_twin(twin, faults) and image.strip()
        },
        tuple(faults),
    )


def environment_of(content: Object) -> str:
    """The UUID in environment.json, as topics have it. Raises InvalidInput."""
    found = content.get("uuid")
    if not isinstance(found, str) or not found.strip():
        raise InvalidInput("has no «uuid»")
    try:
        return str(uuid.UUID(found.strip()))
    except ValueError:
        raise InvalidInput(f"has «{one_line(found[:_SHOWN])}» as «uuid», which is none") from None


def fingerprint_of(content: Object) -> str:
    """What fingerprint.json says. Raises InvalidInput."""
    found = content.get("fingerprint")
    if not isinstance(found, str) or not is_fingerprint(found.strip()):
        raise InvalidInput("has no «fingerprint» of letters, digits, «-», «_» and «.»")
    return found.strip()


def video_devices_of(edge: Object, cameras: Object) -> dict[str, str]:
    """The video device of each twin, by edge.json, and what only cameras.json has. Empty: its camera is no video device."""
    metadata = edge.get("metadata")
    newer = metadata.get("cameras") if isinstance(metadata, dict) else None
    chosen = newer if isinstance(newer, dict) and newer else cameras
    devices = {**_of_twins(cameras), **_of_twins(chosen)}
    found = {twin: device for twin, at in devices.items() if (device := _device(at)) is not None}
    if other := _numbered(chosen.get("selected_device")):
        found[EVERY_OTHER] = other
    return found


def _of_twins(cameras: Object) -> Object:
    found = cameras.get("twin_to_device")
    if not isinstance(found, dict):
        return {}
    return {twin: device for twin, device in found.items() if is_uuid(twin)}


def _device(value: object) -> str | None:
    """None: nothing is said. What only tells a place (`/dev/video2`) is not said of a twin for good: its number is."""
    if isinstance(value, str):
        value = value.strip()
        if value.startswith(_SERIAL):
            return ""
        if value.startswith(_STABLE_PLACES):
            return value if _is_word(value) else None
        if not value.startswith("/dev/") and not value.isdecimal():
            return value if _is_word(value) else None
    return _numbered(value)


def _numbered(value: object) -> str | None:
    if isinstance(value, str):
        value = value.strip().removeprefix(_NUMBERED)
        value = int(value) if value.isdecimal() and len(value) < _SHOWN else None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return f"{_NUMBERED}{value}"
    return None


def _texts(found: object, name: str, faults: list[str]) -> dict[str, str]:
    """An object of texts; numbers and truth values are written out."""
    if found is None:
        return {}
    if not isinstance(found, dict):
        faults.append(f"has «{name}», which is no object")
        return {}
    texts = {}
    for key, value in found.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if isinstance(value, dict | list) or value is None or _value_fault(text):
            faults.append(f"has «{one_line(key[:_SHOWN])}» in «{name}», which is no text in a line")
        else:
            texts[key] = text
    return texts


def _is_twin(twin: str, faults: list[str]) -> bool:
    if is_uuid(twin):
        return True
    faults.append(f"has «{one_line(twin[:_SHOWN])}» in «driver_overrides», which is no twin's UUID")
    return False


def _value_fault(value: str) -> bool:
    """Whether it cannot be a variable's value in an environment file."""
    return len(value) > _MAX_VALUE or any(ord(sign) < ord(" ") and sign != "\t" for sign in value)


def _is_word(text: str) -> bool:
    return bool(text) and text.isprintable() and " " not in text
