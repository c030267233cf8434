"""What a driver says of its commands and channels (the root of a `cw-driver.yml`), as clients read it in its twin's metadata: pure.

Drivers write MQTT topics by room and leaf; clients want them by their whole name, with the twin's UUID left open, and a
command as a name with what is special about it beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from skerry.core.merging.amounts import is_number
from skerry.core.merging.bodies import Body, Value
from skerry.kit.errors import InvalidInput

_ROOMS: Mapping[str, str] = {
    "joint": "cyberwave/joint/{twin_uuid}",
    "twin": "cyberwave/twin/{twin_uuid}",
    "webrtc": "cyberwave/twin/{twin_uuid}",
    "pose": "cyberwave/twin/{twin_uuid}",
    "environment": "cyberwave/environment/{environment_uuid}",
}
_SIGNALLING = frozenset({"offer", "answer", "candidate"})
_OF_A_TOPIC = frozenset({"description", "direction", "payload_schema_ref"})
_DIRECTIONS = frozenset({"publish", "subscribe", "both"})
_MQTT, _ZENOH = "mqtt", "zenoh"


def compiled(config: Body) -> Mapping[str, Body]:
    """What becomes of a driver's words, by the key of the metadata; only what they speak of. Raises InvalidInput."""
    found: dict[str, Body] = {}
    if _MQTT in config:
        found[_MQTT] = _mqtt(config, _object(config, _MQTT))
    if _ZENOH in config:
        found[_ZENOH] = _object(config, _ZENOH)
    return found


def merged(held: Value, new: Body) -> Body:
    """A catalog with what is new in it: topics and channels by name, commands of both, everything else replaced."""
    if not isinstance(held, dict):
        return new
    after = held | new
    for name, join in _JOINS.items():
        before, now = held.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            after[name] = join(before, now)
    return after


def _mqtt(config: Body, told: Body) -> Body:
    if isinstance(told.get("topics"), dict):  # somebody has compiled it already
        return told
    topics: Body = {}
    for room, leaves in told.items():
        if room in _ROOMS and isinstance(leaves, dict):
            for leaf, topic in leaves.items():
                if isinstance(topic, dict) and not _OF_A_TOPIC.isdisjoint(topic):
                    topics[_topic(room, leaf)] = _checked(room, leaf, topic)
    commands = _commands(told.get("commands"))
    if isinstance(told.get("constraints"), list):
        commands.setdefault("constraints", told["constraints"])
    provenance: Body = {"source": "cw-driver.yml", "capabilities_derived": False}
    found: Body = {
        "schema_version": told.get("schema_version", 1),
        "topics": topics,
        "commands": commands,
        "provenance": provenance,
    }
    if isinstance(told.get("driver_family"), str):
        found["driver_family"] = told["driver_family"]
    if registry_id := _registry_id(config):
        found["asset_registry_id"] = provenance["registry_id"] = registry_id
    return found


def _topic(room: str, leaf: str) -> str:
    if room == "webrtc":
        leaf = f"webrtc-{leaf}" if leaf in _SIGNALLING else leaf.replace("_", "-")
    return f"{_ROOMS[room]}/{leaf}"


def _checked(room: str, leaf: str, topic: Body) -> Body:
    direction = topic.get("direction")
    if not isinstance(direction, str) or direction.strip().lower() not in _DIRECTIONS:
        raise InvalidInput(
            f"cannot take the driver's schema: topic «{room}.{leaf}» has no direction publish, subscribe or both"
        )
    told: Body = {key: value for key, value in topic.items() if value is not None}
    return told | {"direction": direction.strip().lower()}


def _commands(told: Value) -> Body:
    given: Body = {"supported": told} if isinstance(told, list) else {}
    if isinstance(told, dict):
        given = dict(told)
    listed = given.get("supported")
    if not isinstance(listed, list):
        return given
    specs: Body = {}
    for entry in listed:
        name, spec = _command(entry)
        if name in specs:
            raise InvalidInput(f"cannot take the driver's schema: command «{name}» comes twice")
        specs[name] = spec
    return given | {"supported": list(specs), "specs": specs}


def _command(entry: Value) -> tuple[str, Body]:
    """Its name, and what is special about it; whatever the SDK says of it stays."""
    spec: Body = {}
    name: Value = entry
    if isinstance(entry, dict):
        name = entry.get("name")
        spec = {key: value for key, value in entry.items() if key != "name"}
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput("cannot take the driver's schema: a command has no name")
    for key in ("rate_hz", "default_duration_s"):
        if key in spec and not is_number(spec[key]):
            raise InvalidInput(
                f"cannot take the driver's schema: «{key}» of command «{name}» is no number"
            )
    return name.strip(), spec


def _registry_id(config: Body) -> str:
    several = config.get("registry_ids")
    for one in (config.get("registry_id"), *(several if isinstance(several, list) else ())):
        if isinstance(one, str) and one.strip():
            return one.strip()
    return ""


def _object(config: Body, name: str) -> Body:
    found = config[name]
    if not isinstance(found, dict):
        raise InvalidInput(f"cannot take the driver's schema: its «{name}» is no object")
    return found


def _both_commands(held: Body, new: Body) -> Body:
    before, now = held.get("supported"), new.get("supported")
    after = held | new
    if isinstance(before, list) and isinstance(now, list):
        names = {name for name in (*before, *now) if isinstance(name, str)}
        after["supported"] = list[Value](sorted(names))
    specs, more = held.get("specs"), new.get("specs")
    if isinstance(specs, dict) and isinstance(more, dict):
        after["specs"] = specs | more
    return after


_JOINS: Mapping[str, Callable[[Body, Body], Body]] = {
    "topics": lambda held, new: held | new,
    "channels": lambda held, new: held | new,
    "commands": _both_commands,
}
