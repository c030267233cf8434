"""The payloads of MQTT messages, as their publishers wrote them: JSON objects mostly, sometimes not even text. Pure."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.kit.clock import NS
from skerry.wire.records import INT64, MAX_META_TEXT, MAX_TEXT

_HOUR = 3600 * NS
_JOINT = frozenset(("type", "joint_name", "joint_state", "source_type", "session_id", "timestamp"))
_STATE = frozenset(("position", "velocity", "effort"))


class Head(msgspec.Struct, frozen=True):
    """What JSON says of itself; all None where it is no object. `is_joint`: a single joint, and nothing that a record has no place for.

    `rewritten`: what it was with NaN and Infinity, which JSON does not have, as null; None: it had none.
    """

    timestamp: Any = None
    source_type: str | None = None
    session_id: str | None = None
    joint_name: str | None = None
    joint_state: Any = None
    is_joint: bool = False
    rewritten: str | None = None


class _Outline(msgspec.Struct, frozen=True):
    """What a payload that becomes a file says of itself; all else in it is passed over."""

    timestamp: msgspec.Raw = msgspec.Raw(b"null")
    source_type: msgspec.Raw = msgspec.Raw(b"null")


def head_of(payload: bytes) -> Head | None:
    """None: it is no JSON. Of what is longer than a record may be, only time and source are looked for."""
    if len(payload) > MAX_TEXT:
        return _outline_of(payload)
    rewritten = None
    try:
        body = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            body = json.loads(payload.decode(), parse_constant=_null, parse_float=_finite)
            rewritten = json.dumps(body, separators=(",", ":"))
        except (ValueError, RecursionError):
            return None
    if not isinstance(body, dict):
        return Head(rewritten=rewritten)
    return Head(
        body.get("timestamp"),
        _word(body.get("source_type")),
        _word(body.get("session_id")),
        _word(body.get("joint_name")),
        body.get("joint_state"),
        _is_joint(body),
        rewritten,
    )


def _outline_of(payload: bytes) -> Head | None:
    """JSON may take thirty times its length in memory."""
    try:
        found = msgspec.json.decode(payload, type=_Outline)
    except msgspec.ValidationError:
        return Head()  # an array, or the like
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Head(_short(found.timestamp), _word(_short(found.source_type)))


def _short(text: msgspec.Raw) -> object:
    return msgspec.json.decode(text) if len(bytes(text)) <= MAX_META_TEXT else None


def text_of(payload: bytes, head: Head | None) -> str | None:
    """The payload as text; None: it is none."""
    if head is not None and head.rewritten is not None:
        return head.rewritten
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def time_of(timestamp: object, captured: int) -> int:
    """When it was measured, ns since 1970: as it says, in seconds, milliseconds or ISO 8601, if that is within an hour of `captured`."""
    for guess in _guesses(timestamp):
        if abs(guess - captured) <= _HOUR:
            return guess
    return captured


def iso_time(text: str) -> int | None:
    """What a text says by ISO 8601, ns since 1970; in UTC where it names no zone. None: it is no time."""
    try:
        moment = datetime.datetime.fromisoformat(text[:64])
    except ValueError:
        return None
    utc = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return _ns(utc.timestamp())


def _guesses(timestamp: object) -> list[int]:
    if isinstance(timestamp, str):
        read = iso_time(timestamp)
        return [] if read is None else [read]
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float):
        return []
    if not -1e15 < timestamp < 1e15:  # also NaN
        return []
    return [_ns(timestamp), _ns(timestamp / 1000)]


def _ns(seconds: float) -> int:
    """A float has no more than microseconds in these days."""
    return round(seconds * 1_000_000) * 1000


def _null(_: str) -> None:
    """For NaN and Infinity."""


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _is_joint(body: Mapping[str, object]) -> bool:
    state = body.get("joint_state")
    if not body.keys() <= _JOINT or not isinstance(state, dict) or not state.keys() <= _STATE:
        return False
    texts = [body.get(key) for key in ("joint_name", "source_type", "session_id")]
    return (
        body.get("type") in (None, "joint_state")
        and _is_number(state.get("position"))
        and all(state.get(key) is None or _is_number(state[key]) for key in ("velocity", "effort"))
        and bool(_word(texts[0]))
        and all(text is None or _word(text) is not None for text in texts)
        and (body.get("timestamp") is None or _is_number(body["timestamp"]))
    )


def _word(value: object) -> str | None:
    """A text that can stand beside a record."""
    if isinstance(value, str) and len(value) <= MAX_META_TEXT and value.isprintable():
        return value
    return None


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -INT64 <= value < INT64
    return isinstance(value, float) and math.isfinite(value)
