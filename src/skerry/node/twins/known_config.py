"""What the files of the configuration directory come to, where one of them cannot be read with what it said before: pure.

A file that is not there says nothing, on purpose. One that cannot be read (rights, a disk's error, half of it written) says
what it said when it could: what runs by it would end otherwise, and what is to run would not begin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from skerry.core.cyberwave.json_objects import Object
from skerry.kit.errors import InvalidInput
from skerry.node.twin_ports import FORGOTTEN
from skerry.node.twins.config_files import (
    Credentials,
    credentials_of,
    environment_of,
    fingerprint_of,
    video_devices_of,
)

CREDENTIALS, FINGERPRINT, ENVIRONMENT = "credentials.json", "fingerprint.json", "environment.json"
EDGE, CAMERAS = "edge.json", "cameras.json"
FILES = (CREDENTIALS, FINGERPRINT, ENVIRONMENT, EDGE, CAMERAS)

Found = Mapping[str, Object | InvalidInput]
"""What is in the files that are there, or why one cannot be used."""


class Known(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the store keeps of it: no token, but whether there was one. `variables` are those of credentials.json."""

    fingerprint: str = ""
    environment: str = ""
    variables: Mapping[str, str] = {}
    overrides: Mapping[str, str] = {}
    video_devices: Mapping[str, str] = {}
    signed_in: bool = False

    def without_addresses(self) -> Known:
        """What may be kept: the address of a camera has its password in it as a rule. That there was one is kept."""
        devices = {
            twin: device if not device or device.startswith("/dev/") else FORGOTTEN
            for twin, device in self.video_devices.items()
        }
        return replace(self, video_devices=devices)


class Reading(msgspec.Struct, frozen=True):
    """`faults` are file by file, in words that follow its name. `in_doubt`: nobody knows which environment it is."""

    known: Known
    token: str
    faults: list[tuple[str, str]]
    in_doubt: bool


def reading(found: Found, before: Known) -> Reading:
    """`before` is what was known until now."""
    right = {name: one for name, one in found.items() if not isinstance(one, InvalidInput)}
    wrong = found.keys() - right.keys()
    faults = [(name, str(one)) for name, one in found.items() if name in wrong]
    said = credentials_of(right[CREDENTIALS]) if CREDENTIALS in right else Credentials()
    faults += [(CREDENTIALS, fault) for fault in said.faults]
    variables, overrides, signed_in = said.variables, said.overrides, bool(said.token)
    if CREDENTIALS in wrong:
        variables, overrides, signed_in = before.variables, before.overrides, before.signed_in
    devices = video_devices_of(right.get(EDGE, {}), right.get(CAMERAS, {}))
    if wrong & {EDGE, CAMERAS}:
        devices = dict(before.video_devices)
    environment = _read(ENVIRONMENT, right, environment_of, faults)
    fingerprint = _read(FINGERPRINT, right, fingerprint_of, faults)
    known = Known(
        (fingerprint or before.fingerprint) if FINGERPRINT in found else "",
        (environment or before.environment) if ENVIRONMENT in found else "",
        variables,
        overrides,
        devices,
        signed_in,
    )
    return Reading(known, said.token, faults, ENVIRONMENT in found and not known.environment)


def _read(
    name: str,
    right: Mapping[str, Object],
    convert: Callable[[Object], str],
    faults: list[tuple[str, str]],
) -> str:
    """Empty: it is not there, or says nothing that can be used."""
    if name not in right:
        return ""
    try:
        return convert(right[name])
    except InvalidInput as error:
        faults.append((name, str(error)))
        return ""
