"""On macOS: a command of the device's own for each device node that a driver wants, because containers there have none. Pure.

The command's template has placeholders; what it prints says where the driver finds the device instead.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence

import msgspec

from skerry.core.cyberwave.run_options import RunOptions
from skerry.kit.errors import InvalidInput

SECONDS = 60.0
"""For one command."""

DEFAULT_CAMERA = "/dev/video0"
"""What a camera's driver wants whose params name no device."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_LINE = "resolved_device="


class Wanted(msgspec.Struct, frozen=True):
    """A device node, as the driver's container is to see it."""

    host: str
    inside: str


def wanted(options: RunOptions, *, camera: bool) -> list[Wanted]:
    """The device nodes of a driver, each once; those of a camera's that names none are the usual one."""
    nodes = [
        Wanted(one["PathOnHost"], one["PathInContainer"]) for one in options.host.get("Devices", ())
    ]
    if not nodes and camera:
        nodes = [Wanted(DEFAULT_CAMERA, DEFAULT_CAMERA)]
    return list(dict.fromkeys(nodes))


def command(template: str, node: Wanted, *, twin: str, container: str, directory: str) -> list[str]:
    """The words of the command for a node. Raises InvalidInput for a placeholder that there is not, or a broken template."""
    values = {
        "host_device": node.host,
        "container_device": node.inside,
        "twin_uuid": twin,
        "container_name": container,
        "config_dir": directory,
    }

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            known = ", ".join(f"{{{name}}}" for name in values)
            raise InvalidInput(
                f"CYBERWAVE_MACOS_DEVICE_BRIDGE_COMMAND: there is no placeholder {found[0]}, only {known}"
            )
        return values[found[1]]

    try:
        words = shlex.split(template)
    except ValueError as error:
        raise InvalidInput(f"CYBERWAVE_MACOS_DEVICE_BRIDGE_COMMAND: {error}") from error
    if not words:
        raise InvalidInput("CYBERWAVE_MACOS_DEVICE_BRIDGE_COMMAND: it is empty")
    return [_PLACEHOLDER.sub(value, word) for word in words]


def resolved(printed: str, node: Wanted) -> str:
    """Where the device is, by what its command has printed; the node itself where that says nothing."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    for text in (printed.strip(), *reversed(lines)):
        try:
            told = json.loads(text)
        except ValueError:
            continue
        if isinstance(told, Mapping):
            found = told.get("resolved_device") or told.get("video_source")
            if isinstance(found, str) and found:
                return found
    named = [line.removeprefix(_LINE).strip() for line in lines if line.startswith(_LINE)]
    if named and named[-1]:
        return named[-1]
    if lines and not re.search(r"\s", lines[-1]) and not lines[-1].startswith(("{", _LINE)):
        return lines[-1]
    return node.inside


def applied(
    options: RunOptions, found: Mapping[Wanted, str], *, strip: bool
) -> tuple[RunOptions, dict[str, str]]:
    """The options and variables of a driver whose devices were found so; `strip`: no Linux node is asked for any more."""
    elsewhere = {
        node.inside: place for node, place in found.items() if not place.startswith("/dev/video")
    }
    if not elsewhere:
        return options, {}
    variables = {
        "CYBERWAVE_METADATA_VIDEO_DEVICE": next(iter(elsewhere.values())),
        "CYBERWAVE_EDGE_VIDEO_DEVICE_MAP": json.dumps(elsewhere, separators=(",", ":")),
    }
    if not strip:
        return options, variables
    nodes: Sequence[Mapping[str, str]] = options.host.get("Devices", ())
    left = [one for one in nodes if one["PathInContainer"] not in elsewhere]
    host = {name: value for name, value in options.host.items() if name != "Devices"}
    return msgspec.structs.replace(
        options, host=host | ({"Devices": left} if left else {})
    ), variables
