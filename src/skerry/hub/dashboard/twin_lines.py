"""The page's table of Cyberwave's twins, as plain values: whether their drivers are there, and what people are to care for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from skerry.core.cyberwave.payloads import iso_time
from skerry.core.cyberwave.shown import DriverState
from skerry.hub.dashboard.view import MAX_LINES, Snapshot, Tone, span
from skerry.hub.fleet.twins import OpenAlert, TwinView

MAX_ALERTS = 3
"""Shown of one twin."""

_STATES: Mapping[DriverState, Tone] = {
    "online": "good",
    "silent": "busy",
    "offline": "bad",
    "never heard": "idle",
}
_SEVERITIES: Mapping[str, Tone] = {
    "critical": "bad",
    "error": "bad",
    "warning": "busy",
    "info": "idle",
}
_ORDER: Sequence[Tone] = ("bad", "busy", "good", "idle")


@dataclass(frozen=True)
class AlertLine:
    """One open alert of a twin."""

    tone: Tone
    kind: str
    text: str


@dataclass(frozen=True)
class TwinLine:
    """One row of the table. `more` are the alerts that are not shown."""

    name: str
    uuid: str
    node: str
    tone: Tone
    driver: str
    duration: str
    detail: str
    alerts: Sequence[AlertLine]
    more: int


def twin_lines(snapshot: Snapshot) -> list[TwinLine]:
    """Those that something is wrong with come first, then by name."""
    online = {each.name for each in snapshot.nodes if each.online}
    lines = [_line(twin, online, snapshot.now) for twin in snapshot.twins]
    lines.sort(key=lambda line: (not _is_troubled(line), line.name, line.uuid))
    return lines[:MAX_LINES]


def _line(twin: TwinView, online: Collection[str], now: int) -> TwinLine:
    is_present = any(name in online for name in twin.nodes)
    driver, tone, detail = str(twin.driver), _STATES[twin.driver], ""
    if not is_present and twin.driver != "never heard":
        why = "the node is offline" if twin.nodes else "no node of the fleet is its device"
        driver, tone, detail = "unknown", "idle", f"was {twin.driver}: {why}"
    alerts = sorted(twin.alerts, key=_newest_first, reverse=True)
    alerts.sort(key=lambda alert: _ORDER.index(_tone(alert)))
    return TwinLine(
        name=twin.name or twin.uuid,
        uuid=twin.uuid,
        node=", ".join(twin.nodes) or twin.device,
        tone=tone,
        driver=driver,
        duration="" if detail else _since(twin.since, now),
        detail=detail,
        alerts=[_alert_line(alert) for alert in alerts[:MAX_ALERTS]],
        more=len(alerts[MAX_ALERTS:]),
    )


def _is_troubled(line: TwinLine) -> bool:
    return "bad" in {line.tone, *(alert.tone for alert in line.alerts)}


def _newest_first(alert: OpenAlert) -> str:
    return alert.seen


def _tone(alert: OpenAlert) -> Tone:
    return _SEVERITIES.get(alert.severity, "busy")


def _alert_line(alert: OpenAlert) -> AlertLine:
    known = ", acknowledged" if alert.status == "acknowledged" else ""
    return AlertLine(_tone(alert), f"{alert.kind or 'alert'}{known}", alert.text)


def _since(text: str, now: int) -> str:
    """For how long; empty where it is no time, or one that is yet to come."""
    begun = iso_time(text)
    return span(now - begun) if begun is not None and begun <= now else ""
