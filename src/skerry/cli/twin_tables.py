"""Twins of Cyberwave's and alerts about them as tables, for `skerry get`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skerry.cli.output import Cell, Table, ago, number, word
from skerry.cli.times import parse_time
from skerry.cli.twin_rows import Alert, Twin
from skerry.core.cyberwave.linking import linked_devices
from skerry.core.cyberwave.shown import driver_state, text_of
from skerry.kit.errors import InvalidInput
from skerry.wire.devices import DeviceView


def twins_table(twins: Sequence[Twin], devices: Sequence[DeviceView], now: int) -> Table:
    """One line for each twin, by name: the device that it is linked to, and whether its driver is there."""
    names = {each.fingerprint: each.name for each in devices if each.fingerprint}
    found = sorted(twins, key=lambda each: (text_of(each.body, "name"), each.uuid))
    return Table(
        ("NAME", "UUID", "DEVICE", "DRIVER", "SINCE"),
        [_twin(each, names, now) for each in found],
        found,
        "no twins: docs/operate/cyberwave.md says how a device has some",
    )


def alerts_table(alerts: Sequence[Alert], now: int) -> Table:
    """One line for each alert, the newest word last. `TIMES`: how often it was told."""
    found = sorted(alerts, key=lambda each: text_of(each.body, "last_seen_at"))
    return Table(
        ("SEEN", "SEVERITY", "STATUS", "ALERT", "TWIN", "TIMES", "DESCRIPTION"),
        [_alert(each, now) for each in found],
        found,
        "no alerts",
        below="DESCRIPTION",
    )


def _twin(each: Twin, names: Mapping[str, str], now: int) -> Sequence[Cell | str]:
    return (
        text_of(each.body, "name"),
        each.uuid,
        _devices(each, names),
        _driver(each),
        _when(text_of(each.presence, "since"), now),
    )


def _driver(each: Twin) -> Cell:
    state = driver_state(linked_devices(each.body), each.presence)
    if state == "never heard":
        return Cell(state, "dim", raw="")
    return Cell(state, "yellow") if state == "silent" else word(state)


def _devices(each: Twin, names: Mapping[str, str]) -> str:
    """Names of those that the fleet knows. The keys of the older map may be something else, so only a single word stands for itself."""
    said = sorted(linked_devices(each.body))
    known = [names[one] for one in said if one in names]
    return ", ".join(known or (said if len(said) == 1 else []))


def _alert(each: Alert, now: int) -> Sequence[Cell | str]:
    folded = each.body.get("dedupe_count")
    twin = text_of(each.body, "twin_uuid")
    return (
        _when(text_of(each.body, "last_seen_at"), now),
        word(text_of(each.body, "severity")),
        text_of(each.body, "status"),
        text_of(each.body, "alert_type"),
        Cell(text_of(each.twin, "name") or twin, raw=twin),
        number(folded + 1 if isinstance(folded, int) else 1),
        text_of(each.body, "description") or text_of(each.body, "name"),
    )


def _when(text: str, now: int) -> Cell:
    """How long ago; as it stands where it is no time."""
    try:
        return ago(parse_time(text, now), now)
    except InvalidInput:
        return Cell(text)
