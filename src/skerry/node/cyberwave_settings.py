"""The settings of section `cyberwave`. What they become is `node_settings.CyberwaveSection`."""

from __future__ import annotations

import re

import msgspec

from skerry.core.cyberwave.names import is_uuid
from skerry.core.cyberwave.recordings import recordings
from skerry.core.setting_values import Setting
from skerry.kit.errors import InvalidInput

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")


def cyberwave_settings() -> tuple[Setting, ...]:
    """All of them."""
    return (
        Setting("cyberwave.enabled", "boolean", default=False,
                doc="Runs the drivers and workers of the twins that this device serves, with a broker and an endpoint of their own."),
        Setting("cyberwave.config_dir", "path", None,
                "Where their configuration and the twins' files are; by default CYBERWAVE_EDGE_CONFIG_DIR, else ~/.cyberwave."),
        Setting("cyberwave.environment", "text", None,
                "UUID of the environment whose twins this device may serve; by default that of environment.json.",
                check=_uuid_fault),
        Setting("cyberwave.rest_port", "integer", 18883,
                "Port of 127.0.0.1, and of bridges to containers, for CYBERWAVE_BASE_URL.", low=1, high=65535),
        Setting("cyberwave.mqtt_port", "integer", 18884,
                "As rest_port, for CYBERWAVE_MQTT_PORT; not 8883, which clients take for TLS.", low=1, high=65535, check=_mqtt_port_fault),
        Setting("cyberwave.mosquitto", "path", None,
                "The broker's program; by default the mosquitto of PATH, /usr/sbin or /usr/local/sbin."),
        Setting("cyberwave.privileged", "words", [],
                "Drivers that may have the whole device if they ask for it, or run on it natively: images, registry ids of assets, whole command lines."),
        Setting("cyberwave.driver_variables", "words", [],
                "Variables that params may give to drivers which are trusted by image or command line, beside the documented ones: names by which their "
                "programs take up no code, or beginnings of names with «*».", check=_variables_fault),
        Setting("cyberwave.worker_command", "words", [],
                "What runs the workers on the device itself, «[/PATH/python, -m, cyberwave.workers.main]»; by default a container does."),
        Setting("cyberwave.record", "tables", {},
                "How much is kept of what drivers publish, «PATTERN OF TOPICS OR KEYS: {class: sample, keep, file, off or ring, rate: "
                "TIMES A SECOND, on: EVENTS that write a ring out}»; the first that fits holds.", check=_recordings_fault),
        Setting("cyberwave.ring_size", "size", 256_000_000,
                "Room on the disk for the last five minutes of what class ring keeps; beyond it the oldest goes.",
                unit="bytes", low=1_000_000),
        Setting("cyberwave.zenoh_router", "boolean", default=False,
                doc="Runs a Zenoh router for containers that cannot find each other; so does ZENOH_ROUTER_ENABLED."),
        Setting("cyberwave.journal_limit", "size", 64_000_000,
                "Memory for what drivers publish while the agent is away; beyond it QoS 0 is dropped and counted.",
                unit="bytes", low=1_000_000),
        Setting("cyberwave.driver_memory", "size", None,
                "Memory of each driver whose params have no --memory, and of each native one, and the most that one may ask for that is not trusted; 0: no limit. By default half of "
                "the device's.", unit="bytes"),
        Setting("cyberwave.driver_pids", "integer", 4096,
                "Processes and threads of each driver whose params have no --pids-limit, and of each native one; 0: no limit.", low=0),
        Setting("cyberwave.driver_storage", "size", None,
                "What a driver may hold on a disk that runs short; who holds more is stopped then; 0: no limit. By default a tenth of that disk.",
                unit="bytes"),
        Setting("cyberwave.worker_memory", "size", None,
                "Memory of the workers where CYBERWAVE_WORKER_MEMORY_MB says nothing; 0: no limit. By default what is left of the device's after a quarter "
                "of it, at least 512 MiB.", unit="bytes"),
        Setting("cyberwave.worker_pids", "integer", 4096,
                "Processes and threads of the workers; 0: no limit.", low=0),
        Setting("cyberwave.worker_storage", "size", None,
                "As cyberwave.driver_storage, for the workers. By default a quarter of that disk.", unit="bytes"),
        Setting("cyberwave.shared_memory", "size", None,
                "What drivers and workers may have together in the memory that their containers share, and in that of a bus of "
                "files on an encrypting node. By default a quarter of the device's.", unit="bytes", low=1_000_000),
    )  # fmt: skip


def _uuid_fault(value: object) -> str | None:
    return None if is_uuid(str(value)) else f"«{value}» is no UUID in lower case and with dashes"


def _variables_fault(value: object) -> str | None:
    words = msgspec.convert(value, list[str])
    wrong = next((word for word in words if not _VARIABLE.fullmatch(word)), None)
    return (
        None if wrong is None else f"«{wrong}» is no name of a variable, nor its beginning with «*»"
    )


def _mqtt_port_fault(value: object) -> str | None:
    """Cyberwave's SDK asks for TLS there, whatever else is said."""
    return "8883 is MQTT's port for TLS, which is not spoken here" if value == 8883 else None


def _recordings_fault(value: object) -> str | None:
    try:
        recordings(msgspec.convert(value, dict[str, dict[str, str]]))
    except InvalidInput as error:
        return str(error)
    return None
