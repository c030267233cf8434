"""A line of a driver's log as Cyberwave's people read it on the topic `driverlog`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from skerry import __version__

_LOOKED_AT = 80
_OURS = "skerry: "
_PULLS = "docker pull"
_WORDS = ("ERROR", "CRITICAL", "WARNING", "WARN", "DEBUG", "INFO")

EDGE_CORE = f"skerry {__version__}"
"""What stands where the version of edge-core is asked for."""

Level = Literal["ERROR", "CRITICAL", "WARNING", "DEBUG", "INFO"]


def level_in(text: str) -> Level:
    """The first of edge-core's words, in its order, that stands at the line's beginning, also within another word."""
    begin = text[:_LOOKED_AT].upper()
    found = next((word for word in _WORDS if word in begin), "INFO")
    match found:
        case "ERROR" | "CRITICAL" | "DEBUG":
            return found
        case "WARN" | "WARNING":
            return "WARNING"
        case _:
            return "INFO"


def words_of(text: str) -> str:
    """A line of the log as edge-core says it: there, what a pull says is not marked as somebody else's."""
    return text.removeprefix(_OURS) if text.startswith(_OURS + _PULLS) else text


def driver_log(text: str, container: str, image: str, at: float) -> Mapping[str, object]:
    """The payload: `at` in seconds since 1970, `image` empty for a native driver."""
    message = words_of(text)
    payload: dict[str, object] = {
        "type": "driver_log",
        "message": message,
        "level": level_in(message),
        "container_name": container,
        "source": "edge",
        "timestamp": at,
        "edge_core_version": EDGE_CORE,
    }
    return payload | ({"driver_image": image} if image else {})
