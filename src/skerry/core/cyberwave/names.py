"""Names that Cyberwave's programs and people know a device, its containers and its topics by."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Collection, Mapping

_HOST_LENGTH = 15
_FINGERPRINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,126}")
_SHORT = 8

PREFIXES = ("CYBERWAVE_MQTT_TOPIC_PREFIX", "CYBERWAVE_TOPIC_PREFIX")
"""The variables by which the SDK begins its topics, the first one before the other, and both before the environment."""

_NO_PREFIX = re.compile(r"[+#$\0]")


def fingerprint(host: str, node: int, system: str, machine: str) -> str:
    """A device's name for itself, by what the system says: host name, `uuid.getnode()`, «Linux», «x86_64»."""
    mac = ":".join(f"{node:012x}"[i : i + 2] for i in range(0, 12, 2))
    digest = hashlib.sha256(f"{host}-{mac}-{system}-{machine}".encode()).hexdigest()
    slug = re.sub(r"[ .]", "-", host[:_HOST_LENGTH].lower()).rstrip("-")
    return f"{slug}-{digest[:12]}"


def is_fingerprint(text: str) -> bool:
    """Whether a device may call itself so (fingerprint.json, CYBERWAVE_EDGE_UUID)."""
    return _FINGERPRINT.fullmatch(text) is not None


def is_uuid(text: str) -> bool:
    """Whether it is a UUID in the one form that file names and topics have: lower case, with dashes."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def topic_prefix(environment: str) -> str:
    """What stands before every topic, with nothing between: the environment's name, but none in production."""
    environment = environment.strip().lower()
    return "" if environment == "production" else environment


def said_prefix(variables: Mapping[str, str]) -> str:
    """What stands before the topics of a device with these variables."""
    found = (text for name, text in _prefixes(variables).items() if text and _is_prefix(name, text))
    return next(found, "")


def prefix_faults(variables: Mapping[str, str]) -> Mapping[str, str]:
    """By variable, what is wrong with those that say a prefix which is none."""
    return {
        name: f"{name} «{text:.40}» is no prefix of topics: it has no effect"
        for name, text in _prefixes(variables).items()
        if not _is_prefix(name, text)
    }


def sdk_prefix(variables: Mapping[str, str]) -> str:
    """What the SDK begins its topics with, to the letter: it takes an environment as it is written."""
    said = next((variables[name] for name in PREFIXES if variables.get(name)), "")
    environment = variables.get("CYBERWAVE_ENVIRONMENT", "")
    return said or (environment if topic_prefix(environment) else "")


def _prefixes(variables: Mapping[str, str]) -> dict[str, str]:
    """By variable, the one that counts first."""
    environment = topic_prefix(variables.get("CYBERWAVE_ENVIRONMENT", ""))
    return {
        **{name: variables.get(name, "") for name in PREFIXES},
        "CYBERWAVE_ENVIRONMENT": environment,
    }


def _is_prefix(name: str, text: str) -> bool:
    """Any text without wildcards; an environment's name is one level, and the tag of images, too."""
    return _NO_PREFIX.search(text) is None and (name in PREFIXES or "/" not in text)


def driver_container(twin: str, others: Collection[str] = ()) -> str:
    """The container of a twin's driver: as much of the UUID as tells it from the other twins', at least 8 digits."""
    return f"cyberwave-driver-{_shortest(twin, others)}"


def worker_container(environment: str) -> str:
    """The container of an environment's workers."""
    return f"cyberwave-worker-{environment[:_SHORT]}"


def _shortest(twin: str, others: Collection[str]) -> str:
    length = _SHORT
    while any(other.startswith(twin[:length]) for other in others if other != twin):
        length += 1
    return twin[:length]
