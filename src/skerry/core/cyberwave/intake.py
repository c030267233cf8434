"""What a message that a container has published becomes: a record, a file, a sign of life, an answer, or nothing. Pure.

docs/reference/cyberwave-topics.md in code. A message is one record: its name is the topic without the environment's prefix,
its value the payload as text, so that nothing of it is lost; only a single joint is a number.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from skerry.core.cyberwave.payloads import Head, head_of, text_of, time_of
from skerry.core.cyberwave.recordings import Recording
from skerry.kit.patterns import matches
from skerry.wire.records import MAX_META_TEXT, MAX_NAME, MAX_TEXT, Meta, Value
from skerry.wire.sync import Lane

SAMPLES_PER_SECOND = 40.0
"""Of a name and publisher: as many as Cyberwave's SDK sends."""

POSITIONS_PER_SECOND = 2.0
"""Of `gps`, as the SDK."""

FILES_PER_SECOND = 1.0
"""Of a name that becomes files, and of samples that are too long for a record."""

_LONGEST_PARSED = 1024 * 1024
_EVENTS = frozenset(("event", "map_update"))
_FILES = frozenset(("depth", "pointcloud"))
_PROGRESS = frozenset({"navigate/status", "mission/status"})
_SAID_BY_THE_NODE = frozenset(("alert", "driverlog", "worker_health"))
_NO_NAME = re.compile(r"[^A-Za-z0-9_.\-/]")


class Rules(msgspec.Struct, frozen=True):
    """The prefix of the device's topics, and what its settings say of some of them (without it): the first pattern that fits."""

    prefix: str = ""
    record: Mapping[str, Recording] = {}


class Kept(msgspec.Struct, frozen=True):
    """A record. `per_second`: more of its name may be left out, and counted; 0: none."""

    lane: Lane
    name: str
    at: int
    value: Value
    meta: Meta
    per_second: float = 0.0


class Content(msgspec.Struct, frozen=True):
    """A record that names the payload, which becomes a file."""

    name: str
    at: int
    meta: Meta
    per_second: float = 0.0


class Health(msgspec.Struct, frozen=True):
    """A driver, or the device for it, says how it is: `edge_health`."""

    twin: str


class Reply(msgspec.Struct, frozen=True):
    """A command, or the answer to one, between clients of this device; or how far a driver has got with one."""

    twin: str


class Ping(msgspec.Struct, frozen=True):
    """A program asks whether messages go through."""

    twin: str


Intake = Kept | Content | Health | Reply | Ping | None


def intake(topic: str, payload: bytes, at: int, rules: Rules) -> Intake:
    """`at` is when it was captured, ns since 1970. Whatever the payload is, nothing is raised and nothing of it is lost."""
    root = f"{rules.prefix}cyberwave/"
    room, _, rest = topic.removeprefix(root).partition("/")
    owner, _, below = rest.partition("/")
    match room:
        case "twin" if below == "edge_health":
            return Health(owner)
        case "twin" if below == "command" or below.startswith("command/"):
            return Reply(owner)
        case "ping" if below == "request":
            return Ping(owner)
        case "ping" | "pong":
            return None
        case "twin" if _is_relayed(below):
            return None
    recording = _recording(topic.removeprefix(rules.prefix), room, below, rules)
    return _kept(topic.removeprefix(rules.prefix), payload, at, recording)


def progress_of(topic: str, rules: Rules) -> Reply | None:
    """A driver says what becomes of a navigation or a mission: that is told on, besides what is kept of it."""
    if not topic.endswith("/status"):
        return None
    room, _, rest = topic.removeprefix(f"{rules.prefix}cyberwave/").partition("/")
    owner, _, below = rest.partition("/")
    return Reply(owner) if room == "twin" and below in _PROGRESS else None


def name_of(text: str) -> str:
    """A record's name for a topic; another one only where a name may not be so."""
    name = _NO_NAME.sub("_", text)
    if not name or name[0] in ".-/":
        name = f"_{name}"
    if len(name) > MAX_NAME:
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        name = f"{name[: MAX_NAME - len(digest) - 1]}.{digest}"
    return name


def _is_relayed(below: str) -> bool:
    """Whether it is between clients, or said by the node, which keeps what it says itself."""
    first, _, second = below.partition("/")
    return first in _SAID_BY_THE_NODE or first.startswith("webrtc-") or second == "command"


def _recording(name: str, room: str, below: str, rules: Rules) -> Recording | None:
    """None: it is an event."""
    first = below.partition("/")[0]
    if room == "workflow":
        return None
    if room == "twin" and (first in _EVENTS or below == "navigate/status"):
        return None
    for pattern, recording in rules.record.items():
        if matches(pattern, name):
            return recording
    if room == "twin" and (first in _FILES or below == "camera/photo"):
        return Recording("file", FILES_PER_SECOND)
    if room == "twin" and below == "gps":
        return Recording("sample", POSITIONS_PER_SECOND)
    return Recording("sample", SAMPLES_PER_SECOND)


def _kept(topic: str, payload: bytes, at: int, recording: Recording | None) -> Intake:
    how, per_second = ("event", 0.0) if recording is None else (recording.how, recording.per_second)
    if how == "off":
        return None
    head = head_of(payload) if len(payload) <= _LONGEST_PARSED else None
    moment = at if head is None else time_of(head.timestamp, at)
    name = name_of(topic)
    meta: Meta = {} if name == topic else {"topic": topic[:MAX_META_TEXT]}
    if head is not None and head.source_type is not None:
        meta["source_type"] = head.source_type
    if how == "file":
        return Content(name, moment, meta, per_second)
    lane: Lane = "event" if how == "event" else ("keep" if how == "keep" else "sample")
    if topic.startswith("cyberwave/joint/") and head is not None and head.is_joint:
        return _joint(topic, head, Kept(lane, name, moment, "", {}, per_second), at)
    value = text_of(payload, head)
    if value is None:
        value = base64.b64encode(payload).decode()
        meta["format"] = "base64"
    elif head is None:
        meta["format"] = "text"
    if len(value.encode()) > MAX_TEXT:
        meta.pop("format", None)
        return Content(name, moment, meta, per_second and min(per_second, FILES_PER_SECOND))
    return Kept(lane, name, moment, value, meta, per_second)


def _joint(topic: str, head: Head, kept: Kept, captured: int) -> Kept:
    """A single joint as a number. What it says of its time stands beside it when the record has that of the capture."""
    said = f"{topic.rpartition('/')[0]}/{head.joint_name}"
    name = name_of(said)
    beside = {
        "joint": None if name == said else head.joint_name,
        "velocity": head.joint_state.get("velocity"),
        "effort": head.joint_state.get("effort"),
        "source_type": head.source_type,
        "session": head.session_id,
        "timestamp": head.timestamp if kept.at == captured else None,
    }
    meta: Meta = {key: value for key, value in beside.items() if value is not None}
    return replace(kept, name=name, value=head.joint_state["position"], meta=meta)
