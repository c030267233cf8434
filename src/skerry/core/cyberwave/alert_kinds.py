"""The kinds of alerts that a node tells of by itself: what people read, and how grave each is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Severity = Literal["info", "warning", "error", "critical"]
Source = Literal["edge", "simulation", "cloud", "workflow"]
Category = Literal["technical", "business"]
Status = Literal["active", "acknowledged", "resolved", "silenced"]

OVER: frozenset[str] = frozenset({"resolved", "silenced"})
"""The statuses of an alert that nobody has to care for any more."""


class Kind(msgspec.Struct, frozen=True):
    """`force`: each is a new alert, also where an equal one is active."""

    title: str
    severity: Severity
    force: bool = False


KINDS: Mapping[str, Kind] = {
    "driver_starting": Kind("Driver starting", "info", force=True),
    "driver_start_failure": Kind("Driver failed to start", "error"),
    "driver_restart_loop": Kind("Driver restart loop detected", "error"),
    "driver_health": Kind("Driver unhealthy", "warning"),
    "driver_restart_needed": Kind("Driver restart needed", "warning"),
    "driver_metadata_restart_suppressed": Kind("Driver restart suppressed", "warning"),
    "sensors_devices": Kind("Sensor devices", "warning"),
    "sensor_device_missing": Kind("Sensor device missing", "warning"),
    "error": Kind("No drivers specified", "warning"),
    "mqtt_broker": Kind("MQTT broker missing", "error"),
    "twin_file": Kind("Twin file cannot be used", "warning"),
    "worker_starting": Kind("Worker starting", "info"),
    "worker_start_failure": Kind("Worker failed to start", "error"),
    "model_download_failure": Kind("Model download failed", "error"),
    "edge_core_restart": Kind("Edge restart", "info"),
    "edge_cpu_saturation": Kind("Edge CPU saturated", "warning"),
    "edge_memory_saturation": Kind("Edge memory saturated", "warning"),
    "edge_disk_saturation": Kind("Edge disk saturated", "warning"),
}
"""By the word that Cyberwave's programs know them by (`alert_type`)."""


def kind_of(name: str) -> Kind:
    """The kind of that name; one that is not in the table is a warning called by its name."""
    return KINDS.get(name) or Kind(name.replace("_", " ").capitalize(), "warning")
