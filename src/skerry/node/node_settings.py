"""The settings of a node as one frozen value: `settings` makes it, the agent receives it.

Apart from `settings`, because what reads YAML and explains mistakes would stay in the agent's memory for ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from skerry.core.stream_rules import Rule
from skerry.core.synced_words import EntityWords

STORE_FILE = "node.db"
"""The database's name in the data directory, if `storage.path` does not name its file."""


class HubSection(msgspec.Struct, frozen=True):
    """Where the hub is, and who may have signed its certificate besides the system's authorities."""

    url: str | None
    ca_file: Path | None = None


class ApiSection(msgspec.Struct, frozen=True):
    """The read-only port for monitoring."""

    port: int


class LocalAccessSection(msgspec.Struct, frozen=True):
    """Users and groups of the device by role, and the directory in which those who may not enter the data directory find the socket."""

    admin: list[str] = []
    operator: list[str] = []
    monitor: list[str] = []
    directory: Path | None = None

    @property
    def given(self) -> dict[str, list[str]]:
        """Users and «group:NAME» by the name of a role."""
        return {"admin": self.admin, "operator": self.operator, "monitor": self.monitor}


class AccessSection(msgspec.Struct, frozen=True):
    """Who may do what at this device, and what people reach on it through the hub: ports of tunnels, and their class on a limited link.

    `ssh_directory` has sshd's configuration.
    """

    local: LocalAccessSection = LocalAccessSection()
    ssh_directory: Path = Path("/etc/ssh")
    forward: list[str] = []
    priority: Literal["high", "medium", "low"] = "high"


KeyKind = Literal["file", "tpm"]
"""Where the key of this node is: in a file, or in the TPM, which never gives it out."""


class TrustSection(msgspec.Struct, frozen=True):
    """What this node proves itself by."""

    key: KeyKind = "file"


class CyberwaveSection(msgspec.Struct, frozen=True):
    """Drivers and workers of Cyberwave. `record`: what is kept of the data bus, by pattern of its keys.

    `privileged` are images, registry ids and command lines whose drivers may have the whole device, `driver_variables` what their params may
    set besides the known ones; `variables` are CYBERWAVE_* and ZENOH_* of
    the agent's own environment, without secrets.
    """

    enabled: bool = False
    config_dir: Path | None = None
    environment: str | None = None
    rest_port: int = 18883
    mqtt_port: int = 18884
    mosquitto: Path | None = None
    privileged: list[str] = []
    driver_variables: list[str] = []
    worker_command: list[str] = []
    record: dict[str, dict[str, str]] = {}
    ring_size: int = 256_000_000
    zenoh_router: bool = False
    journal_limit: int = 64_000_000
    driver_memory: int | None = None
    driver_pids: int = 4096
    driver_storage: int | None = None
    worker_memory: int | None = None
    worker_pids: int = 4096
    worker_storage: int | None = None
    shared_memory: int | None = None
    variables: dict[str, str] = {}


class RecordsSection(msgspec.Struct, frozen=True):
    """Room for records on this device, in bytes."""

    keep_limit: int
    sample_limit: int


class Registry(msgspec.Struct, frozen=True):
    """Who this node is to a registry of images."""

    username: str
    password_file: str


class RuntimeSection(msgspec.Struct, frozen=True):
    """What the whole node may use, in bytes (None: as much as there is), and how often that is looked at, in seconds."""

    max_memory_usage: int | None
    max_storage_usage: int | None
    memory_check_interval: float
    storage_check_interval: float
    mode: Literal["edge", "standalone"] = "edge"
    offline_mode: Literal["auto", "always", "never"] = "auto"


class ContainersSection(msgspec.Struct, frozen=True):
    """The container engine; registries by host, «HOST[:PORT]»."""

    socket: Path | None
    registries: dict[str, Registry] = {}


class ModelsSection(msgspec.Struct, frozen=True):
    """Models: room for them, and bytes a second of their downloads (None: no limit)."""

    cache_limit: int
    max_bandwidth: int | None


class FilesSection(msgspec.Struct, frozen=True):
    """Files that workloads upload: room for them, and bytes a second on their way to the hub (None: no limit)."""

    limit: int
    max_bandwidth: int | None


class IsolationSection(msgspec.Struct, frozen=True):
    """Strict workloads: the numbers of their users, «FIRST-LAST»."""

    users: str

    @property
    def range(self) -> range:
        """The numbers."""
        first, last = self.users.split("-")
        return range(int(first), int(last) + 1)


class RetrySection(msgspec.Struct, frozen=True):
    """How what the hub refuses is tried again; delays in seconds."""

    max_attempts: int
    initial_delay: float
    max_delay: float
    backoff_factor: float


class NetworkSection(msgspec.Struct, frozen=True):
    """What sync may ask of the link: bytes a second and in a month (None: no limit), and whether only high priority goes."""

    max_bandwidth: int | None = None
    monthly_cap: int | None = None
    critical_only: bool = False
    metered: Literal["yes", "no", "auto"] = "no"

    @property
    def is_limited(self) -> bool:
        """Whether anything ever has to wait for its turn."""
        limits = self.max_bandwidth is not None or self.monthly_cap is not None
        return limits or self.critical_only or self.metered != "no"


class SyncSection(msgspec.Struct, frozen=True):
    """Sync with the hub. `sync_interval` is the longest time between two pulls, in seconds, `schedule` that of entities that have their own."""

    sync_interval: float
    retry: RetrySection
    network: NetworkSection = NetworkSection()
    entities: dict[str, EntityWords] = {}
    schedule: dict[str, float | None] = {}


class StorageSection(msgspec.Struct, frozen=True):
    """The database's file, where it is not in the data directory under its usual name, and its backups.

    `backup_interval` is in seconds.
    """

    path: Path | None
    backup_interval: float = 86_400.0
    backup_keep: int = 7
    backup_path: Path | None = None
    backup_passphrase: Path | None = None


class StorageEncryption(msgspec.Struct, frozen=True):
    """Encryption at rest: with which algorithm, how old data keys get (seconds), and where their own key comes from."""

    enabled: bool
    algorithm: str
    key_rotation: float = msgspec.field(name="key_rotation_days")
    key: str


class EncryptionSection(msgspec.Struct, frozen=True):
    """What is encrypted."""

    storage: StorageEncryption


class RetentionSection(msgspec.Struct, frozen=True):
    """How long records stay here once the hub has them, by name."""

    streams: list[Rule] = []


class LogsSection(msgspec.Struct, frozen=True):
    """The node's own log."""

    level: str


class Proxies(msgspec.Struct, frozen=True):
    """Proxies by the scheme of what is asked for, and who is asked without: entries of NO_PROXY."""

    http: str = ""
    https: str = ""
    direct: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Proxies()"

    def of(self, url: str) -> str | None:
        """The proxy for a request to `url`; None: it goes there directly, as to this machine itself always."""
        proxy = self.https if url.startswith("https:") else self.http
        if not proxy:
            return None
        from skerry.node.proxies import takes_proxy  # noqa: PLC0415 - most nodes have none

        return proxy if takes_proxy(url, self.direct) else None


DIRECT = Proxies()


class NodeSettings(msgspec.Struct, frozen=True):
    """Everything that can be set on a node."""

    name: str
    labels: dict[str, str]
    data_dir: Path
    hub: HubSection
    api: ApiSection
    records: RecordsSection
    runtime: RuntimeSection
    logs: LogsSection
    isolation: IsolationSection
    containers: ContainersSection
    models: ModelsSection
    sync: SyncSection
    storage: StorageSection
    files: FilesSection
    encryption: EncryptionSection
    retention: RetentionSection = RetentionSection()
    access: AccessSection = AccessSection()
    trust: TrustSection = TrustSection()
    cyberwave: CyberwaveSection = CyberwaveSection()
    credentials: Path | None = None
    """Systemd's directory of credentials for this process."""
    engine_sockets: tuple[Path, ...] = ()
    """Where a container engine is looked for, the first one first."""
    configs: tuple[Path, ...] = ()
    """The files that the command line named."""
    proxies: Proxies = DIRECT
    """Those of the environment."""

    @property
    def stays_alone(self) -> bool:
        """Whether this node never looks for its hub, enrolled or not."""
        return self.runtime.mode == "standalone" or self.runtime.offline_mode == "always"

    @property
    def run_dir(self) -> Path:
        """Sockets and pid files; emptied by a reboot without harm."""
        return self.data_dir / "run"


def to_bytes(settings: NodeSettings) -> bytes:
    """The settings for another process of this version."""
    return msgspec.json.encode(settings, enc_hook=str)


def from_bytes(data: bytes) -> NodeSettings:
    """What `to_bytes` was given."""
    return msgspec.json.decode(data, type=NodeSettings, dec_hook=lambda kind, text: kind(text))
