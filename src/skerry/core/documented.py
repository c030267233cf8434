"""The names of the edge-infrastructure document's files: edge-config, sync-config, edge-monitoring, edge-security.

Declared as settings like any other, with what they ask for where this build does not do it (`features`). Node and
hub add them to their own; `agent_file` has the fifth file. docs/adr/0011 says how they relate to our names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from skerry.core.entity_settings import (
    STRATEGIES,
    SYNCED,
    documented_entity,
    documented_schedule,
)
from skerry.core.features import (
    ACCESS_CONTROL,
    ATTESTATION,
    BACKUPS,
    BANDWIDTH,
    HUB_ACCESS_CONTROL,
    HUB_STORAGE_ENCRYPTION,
    HUB_TLS,
    MONITORING,
    ONLINE_ONLY,
    PEOPLES_CERTIFICATES,
    PLAIN_SYNC,
    SECURE_BOOT,
    STORAGE_ENCRYPTION,
    TAMPER_DETECTION,
    TLS,
    WAITING_SYNC,
    WORKFLOWS,
)
from skerry.core.names import url_fault
from skerry.core.setting_values import Setting

Role = Literal["node", "hub"]

MODES = ("edge", "central", "standalone")
ACTIONS = ("log", "notify_central", "cleanup_temp", "restart_sync")

_DAY = 86_400.0


def documented(role: Role) -> tuple[Setting, ...]:
    """Every documented setting, as it is for a node or for a hub."""
    return (*_runtime(role), *_sync(), *_storage(), *_monitoring(), *_security(role))


# fmt: off
def _runtime(role: Role) -> Iterator[Setting]:
    yield Setting("runtime.mode", "word", "edge" if role == "node" else "central",
        "Whom the file is for: «edge» and «standalone» (which never looks for a hub) a node, «central» a hub.", words=MODES)
    yield Setting("runtime.max_concurrent_workflows", "integer", None, "How many executions run at a time; the others wait.",
        low=1, feature=WORKFLOWS, nodes_only=True)
    yield Setting("runtime.max_memory_usage", "size", None,
        "Memory of the agent, its keeper and all workloads together. A workload is started when its reservation fits.",
        unit="bytes", low=100_000_000, nodes_only=True)
    yield Setting("runtime.max_storage_usage", "size", None,
        "Room for the data directory. Near it, what the node can do without goes; at it, publishing is refused.",
        unit="bytes", low=20_000_000, nodes_only=True)
    yield Setting("runtime.offline_mode", "word", "auto",
        "«auto» works offline and connects again; «always» sends nothing to the hub, ever; «never» refuses new work without a hub.",
        words=("auto", "always", "never"), feature=ONLINE_ONLY, asks=lambda mode: mode == "never", nodes_only=True)


def _sync() -> Iterator[Setting]:
    yield Setting("sync.central_url", "text", None, "The hub's address, where `hub.url` does not say it.",
        check=url_fault, nodes_only=True)
    yield Setting("sync.sync_interval", "duration", 600.0,
        "How often the hub is asked for changes, a tenth more or less; news from it and changes here do not wait for it.",
        unit="seconds", low=1, high=_DAY, nodes_only=True)
    yield Setting("sync.sync_on_connect", "boolean", default=True, doc="Sync as soon as the hub is reached.",
        feature=WAITING_SYNC, asks=lambda value: value is False, nodes_only=True)
    yield Setting("sync.conflict_resolution", "word", None,
        "Who wins when both sides have changed the same, for what `sync.entities` names without a rule of its own.",
        words=STRATEGIES)
    for entity in SYNCED:
        yield from documented_entity(entity, WORKFLOWS)
    yield from (documented_schedule(entity, WORKFLOWS) for entity in SYNCED)
    yield Setting("sync.retry.max_attempts", "integer", 5,
        "After so many refusals in a row, what the hub refuses is parked: failed in the sync log, told as an event, kept, and tried with each schedule and connection.",
        low=1, high=1000, nodes_only=True)
    yield Setting("sync.retry.initial_delay", "duration", 30.0, "Wait after the hub has refused something for the first time.",
        unit="seconds", low=0.1, high=_DAY, nodes_only=True)
    yield Setting("sync.retry.max_delay", "duration", 3600.0, "The longest such wait.",
        unit="seconds", low=0.1, high=_DAY, nodes_only=True)
    yield Setting("sync.retry.backoff_factor", "number", 2.0, "By what each further wait is longer.",
        low=1, high=100, nodes_only=True)
    yield Setting("sync.network.max_bandwidth", "size", None, "Bytes a second for all sync together, both ways.",
        unit="bytes a second", low=1000, feature=BANDWIDTH, nodes_only=True)
    yield Setting("sync.network.compression", "boolean", default=True, doc="Compress what is sent to the hub.",
        feature=PLAIN_SYNC, asks=lambda value: value is False, nodes_only=True)
    yield Setting("sync.network.encryption", "boolean", default=False, doc="Speak with the hub by mutual TLS only.",
        feature=TLS, nodes_only=True)


def _storage() -> Iterator[Setting]:
    yield Setting("storage.type", "word", "sqlite", "The kind of the database.", words=("sqlite",))
    yield Setting("storage.path", "path", None,
        "The file of the database. Where `data_dir` is not given, its directory is the data directory.")
    yield Setting("storage.backup_interval", "duration", _DAY,
        "How often the database, the identity and the keys are backed up.",
        unit="seconds", low=60, feature=BACKUPS)
    yield Setting("storage.backup_keep", "integer", 7, "How many backups are kept; the newest one always is.",
        low=1, high=1000, feature=BACKUPS)
    yield Setting("storage.backup_path", "path", None,
        "Directory for backups, for example of a mounted stick or share, which must be there; by default «backups» in the data directory.",
        feature=BACKUPS)
    yield Setting("storage.backup_passphrase", "path", None,
        "File with a recovery passphrase, which opens backups when the key of the data directory is gone; nobody else may read it.",
        feature=BACKUPS)


def _monitoring() -> Iterator[Setting]:
    yield Setting("monitoring.metrics_collection", "boolean", default=False, doc="Measure this machine and keep what was measured.",
        feature=MONITORING, nodes_only=True)
    yield Setting("monitoring.metrics_retention", "duration", None, "How long the node keeps what it measured.",
        unit="seconds", low=60, feature=MONITORING, nodes_only=True)
    yield Setting("monitoring.health_check_interval", "duration", None, "How often checks without an interval of their own are made.",
        unit="seconds", low=1, feature=MONITORING, nodes_only=True)
    yield Setting("monitoring.resource_check_interval", "duration", None, "How often disk, battery and the like are looked at.",
        unit="seconds", low=1, feature=MONITORING, nodes_only=True)
    yield Setting("metrics.collection_interval", "duration", None, "How often metrics are measured.",
        unit="seconds", low=1, feature=MONITORING, nodes_only=True)
    yield Setting("metrics.buffer_size", "integer", None, "How many entries wait for the hub at most; sent ones go first.",
        unit="entries", low=1, feature=MONITORING, nodes_only=True)
    yield Setting("metrics.upload_interval", "duration", None, "The longest wait of an entry for its upload.",
        unit="seconds", low=1, feature=MONITORING, nodes_only=True)
    yield Setting("metrics.upload_threshold", "integer", None, "So many entries are uploaded at once.",
        unit="entries", low=1, feature=MONITORING, nodes_only=True)
    yield Setting("health_checks", "list", [], "Commands that say whether something works: exit code 0 does.", fields=(
            Setting("name", "text", None, "Its name.", required=True),
            Setting("interval", "duration", None, "How often it is made.", unit="seconds", low=1),
            Setting("command", "text", None, "A line for the shell.", required=True),
            Setting("timeout", "duration", None, "After this it is ended and has failed.", unit="seconds", low=0.1),
        ), feature=MONITORING, nodes_only=True)
    yield Setting("alerts", "list", [], "What is done when a condition holds.", fields=(
            Setting("name", "text", None, "Its name.", required=True),
            Setting("condition", "text", None, "When it holds, for example «cpu_usage > 90 for 5m».", required=True),
            Setting("actions", "words", None, "What is done then, in this order.", words=ACTIONS, required=True),
        ), feature=MONITORING, nodes_only=True)


def _security(role: Role) -> Iterator[Setting]:
    encryption = STORAGE_ENCRYPTION if role == "node" else HUB_STORAGE_ENCRYPTION
    control = ACCESS_CONTROL if role == "node" else HUB_ACCESS_CONTROL
    yield Setting("security.encryption_enabled", "boolean", default=False, doc="Encrypt what is stored.", feature=encryption)
    yield Setting("security.key_rotation_interval", "duration", None, "How often the key of what is stored is changed.",
        unit="seconds", low=60, feature=encryption)
    yield Setting("security.secure_boot", "boolean", default=False, doc="Want a machine that has started securely.", feature=SECURE_BOOT)
    yield Setting("security.attestation_enabled", "boolean", default=False, doc="Prove to the hub what this machine runs.", feature=ATTESTATION)
    yield Setting("encryption.storage.enabled", "boolean", default=False, doc="Encrypt what is stored. Switching it on encrypts what is there; switching it off is refused.",
        general="security.encryption_enabled", feature=encryption)
    yield Setting("encryption.storage.algorithm", "word", "AES-256-GCM", "By what it is encrypted.",
        words=("AES-256-GCM", "ChaCha20-Poly1305"), feature=encryption)
    yield Setting("encryption.storage.key_rotation_days", "duration", 30 * _DAY,
        "How old a data key gets before what it sealed is sealed with a new one.", unit="days", low=60, high=3650 * _DAY, general="security.key_rotation_interval", feature=encryption)
    tls = TLS if role == "node" else HUB_TLS
    yield Setting("encryption.communication.enabled", "boolean", default=False, doc="Speak by mutual TLS only.", feature=tls)
    yield Setting("encryption.communication.protocol", "word", None, "The oldest version of TLS that is spoken.",
        words=("TLS 1.3",), feature=tls)
    for name, doc in (("certificate_path", "This machine's certificate."), ("key_path", "The key of the certificate."),
                      ("ca_path", "Who must have signed the other side's certificate.")):
        yield Setting(f"encryption.communication.{name}", "path", None, doc, feature=TLS if name == "ca_path" else tls)
    yield Setting("access_control.authentication.method", "word", None, "How people and programs say who they are.",
        words=("certificate",), feature=PEOPLES_CERTIFICATES, asks=lambda _: True)
    yield Setting("access_control.authentication.token_expiry", "duration", _DAY, "How long a password signs somebody in: the page, and «skerry login».",
        unit="seconds", low=60, high=7 * _DAY, feature=control)
    yield Setting("access_control.authorization.default_policy", "word", "deny", "What nobody has been given is refused.",
        words=("deny",))
    yield Setting("access_control.authorization.roles", "list", [], "Who may do what.", fields=(
            Setting("name", "text", None, "The role's name.", required=True),
            Setting("permissions", "words", None, "What it may.", words=("read", "write", "execute", "configure"), required=True),
        ), feature=control, asks=bool)
    yield Setting("attestation.enabled", "boolean", default=False, doc="Prove to the hub what this machine runs.",
        general="security.attestation_enabled", feature=ATTESTATION)
    yield Setting("attestation.method", "word", None, "Who judges the proof.", words=("remote",), feature=ATTESTATION)
    yield Setting("attestation.interval", "duration", None, "How often it is proved.", unit="seconds", low=60, feature=ATTESTATION)
    yield Setting("attestation.server", "text", None, "Where the proof goes.", check=url_fault, feature=ATTESTATION)
    yield Setting("tamper_detection.enabled", "boolean", default=False, doc="Look for changes to this machine that nobody has ordered.",
        feature=TAMPER_DETECTION)
    yield Setting("tamper_detection.checks", "words", None, "What is looked at.",
        words=("boot_integrity", "filesystem_integrity", "hardware_integrity"), feature=TAMPER_DETECTION)
    yield Setting("tamper_detection.interval", "duration", None, "How often.", unit="seconds", low=1, feature=TAMPER_DETECTION)
    yield Setting("tamper_detection.response", "word", None, "What is done about a find.",
        words=("lockdown", "alert", "log"), feature=TAMPER_DETECTION)
# fmt: on
