"""Whether a twin's driver is there, as its `edge_health` says; only what matters, so that a row of it seldom changes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from skerry.core.merging.bodies import Body, Value
from skerry.kit.clock import NS

STALE = 60 * NS
"""As long after its last word a driver counts as there."""

LONGEST = 256 * 1024
"""Bytes of an `edge_health`. JSON may take thirty times its length in memory, and anybody's driver publishes it."""

_MOST_STREAMS = 64
_LONGEST = 128


class Stream(msgspec.Struct, frozen=True):
    """A stream of the driver's: a camera, audio, a lidar."""

    id: str
    state: str
    healthy: bool
    stale: bool
    kind: str


class Presence(msgspec.Struct, frozen=True):
    """`edge` is who says it: the device's fingerprint, or the driver, which calls itself by its twin."""

    online: bool = False
    edge: str = ""
    source: str = ""
    streams: tuple[Stream, ...] = ()

    @property
    def gone(self) -> Presence:
        """The same, not there any more."""
        return Presence(online=False, edge=self.edge, source=self.source)

    def body(self, twin: str, since: str) -> Body:
        """The row; `since` is from when on it is so."""
        streams: list[Value] = [
            {"id": each.id, "connection_state": each.state, "is_healthy": each.healthy, "is_stale": each.stale, "kind": each.kind}
            for each in self.streams
        ]  # fmt: skip
        return {
            "twin_uuid": twin,
            "online": self.online,
            "edge_id": self.edge,
            "source_type": self.source,
            "streams": streams,
            "since": since,
        }


def presence_of(payload: bytes) -> Presence | None:
    """None: that is no `edge_health`."""
    if len(payload) > LONGEST:
        return None
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    streams = found.get("streams")
    named = sorted(streams.items()) if isinstance(streams, dict) else []
    return Presence(
        online=True,
        edge=_text(found.get("edge_id")),
        source=_text(found.get("source_type")),
        streams=tuple(
            _stream(name, one) for name, one in named[:_MOST_STREAMS] if isinstance(one, dict)
        ),
    )


def _stream(name: str, one: Mapping[str, object]) -> Stream:
    config = one.get("stream_config")
    kind = _text(config.get("kind")) if isinstance(config, dict) else ""
    return Stream(
        _text(name),
        _text(one.get("connection_state")),
        one.get("is_healthy") is True,
        one.get("is_stale") is True,
        kind,
    )


def _text(value: object) -> str:
    return value[:_LONGEST] if isinstance(value, str) and value.isprintable() else ""
