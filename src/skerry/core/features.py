"""What settings can ask for beyond what this build does: the one place where «built» flips.

`core.documented` names a feature beside each setting; `core.config` tells people which of them are missing, and
refuses to start where leaving one out would make an installation less safe than its files say.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    """Something that settings ask for. `protects`: going without it, untold, would weaken the installation."""

    name: str
    built: bool = False
    protects: bool = False


STORAGE_ENCRYPTION = Feature("encryption at rest", built=True, protects=True)
HUB_STORAGE_ENCRYPTION = Feature("encryption at rest of a hub", built=True, protects=True)
HUB_TLS = Feature("TLS of a hub", built=True, protects=True)
TLS = Feature("TLS", built=False, protects=True)
PEOPLES_CERTIFICATES = Feature("certificates of people", built=False, protects=True)
ACCESS_CONTROL = Feature("roles of people at a node", built=False, protects=True)
HUB_ACCESS_CONTROL = Feature("roles of people at a hub", built=True, protects=True)
SECURE_BOOT = Feature("secure boot", built=False, protects=True)
ATTESTATION = Feature("attestation", built=False, protects=True)
TAMPER_DETECTION = Feature("tamper detection", built=False, protects=True)

BACKUPS = Feature("backups", built=True)
WORKFLOWS = Feature("workflows and agents")
MONITORING = Feature("metrics, health checks and alerts")
BANDWIDTH = Feature("a limit of bandwidth for sync", built=True)
WAITING_SYNC = Feature("sync that waits for its interval")
PLAIN_SYNC = Feature("sync without compression")
ONLINE_ONLY = Feature("refusing work without a hub")
