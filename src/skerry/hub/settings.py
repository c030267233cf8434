"""The hub's settings: hub.yaml, environment and options → one frozen value. Nothing else on the hub reads either.

`cli.hub` loads them, `server.serve` receives them; what a setting means stands in its declaration below.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from skerry.core.agent_file import set_apart
from skerry.core.config import Configured, SourceFile, Sources, load, nested, refuse_to_start
from skerry.core.documented import documented
from skerry.core.entity_settings import named_entities
from skerry.core.names import is_url, name_fault
from skerry.core.setting_values import Setting
from skerry.core.stream_rules import Rule
from skerry.core.stream_settings import stream_rules
from skerry.core.synced_words import EntityWords
from skerry.hub.access_settings import AccessControlSection, TlsSection
from skerry.kit.errors import InvalidInput
from skerry.kit.sealing.sources import source_fault
from skerry.kit.text_file import read_text

PREFIX = "SKERRY_HUB_"

_LISTEN = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:]+)\]|(?P<host>[^:\[\]]+)):(?P<port>\d{1,5})")


class RetentionSection(msgspec.Struct, frozen=True):
    """How long the hub keeps records, in seconds since it received them; `streams` are rules for names."""

    measurements: float
    events: float
    gaps: float
    files: float
    streams: list[Rule] = []


class BlobsSection(msgspec.Struct, frozen=True):
    """Where models and files are kept; without a URL in the data directory."""

    url: str | None = None
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key_file: Path | None = None


class StorageSection(msgspec.Struct, frozen=True):
    """The hub's own backups. `backup_interval` is in seconds; 0: none."""

    backup_interval: float = 0.0
    backup_keep: int = 7
    backup_path: Path | None = None
    backup_passphrase: Path | None = None
    database_apart: bool = False


class StorageEncryption(msgspec.Struct, frozen=True):
    """Encryption at rest: with which algorithm, how old data keys get (seconds), and where their own key comes from."""

    enabled: bool = False
    algorithm: str = "AES-256-GCM"
    key_rotation: float = msgspec.field(name="key_rotation_days", default=30 * 86_400.0)
    key: str = "file"


class EncryptionSection(msgspec.Struct, frozen=True):
    """What is encrypted."""

    storage: StorageEncryption = StorageEncryption()


class SyncSection(msgspec.Struct, frozen=True):
    """What this hub's file says of synced entities, by name."""

    entities: dict[str, EntityWords] = {}


class AccessSection(msgspec.Struct, frozen=True):
    """Developer access: seconds after which tunnels end. `proxies` say truly who asks through them."""

    tunnel_idle: float = 900.0
    tunnel_duration: float = 43_200.0
    proxies: str | None = None

    @property
    def proxy_networks(self) -> list[str]:
        """Addresses and networks of the proxies."""
        return [each.strip() for each in (self.proxies or "").split(",") if each.strip()]


class NodesSection(msgspec.Struct, frozen=True):
    """How nodes are served: where, how they prove who they are, and the address that they are told."""

    listen: str
    method: Literal["certificate", "secret"]
    address: str | None = None
    rate: int = 30

    @property
    def by_certificate(self) -> bool:
        """Whether nodes have certificates, and a listener of their own."""
        return self.method == "certificate"


class HubSettings(msgspec.Struct, frozen=True):
    """Everything that can be set on a hub."""

    data_dir: Path
    listen: str
    database: str | None
    fleet: str
    retention: RetentionSection
    nodes: NodesSection
    hosts: str | None = None
    address: str | None = None
    blobs: BlobsSection = BlobsSection()
    storage: StorageSection = StorageSection()
    encryption: EncryptionSection = EncryptionSection()
    sync: SyncSection = SyncSection()
    access: AccessSection = AccessSection()
    access_control: AccessControlSection = AccessControlSection()
    tls: TlsSection = TlsSection()
    credentials: Path | None = None
    """Systemd's directory of credentials for this process."""

    @property
    def host(self) -> str:
        """The address part of `listen`."""
        return split_listen(self.listen)[0]

    @property
    def port(self) -> int:
        """The port part of `listen`; 0 lets the system choose."""
        return split_listen(self.listen)[1]

    @property
    def database_url(self) -> str:
        """SQLAlchemy's address of the store: `database`, or hub.db in the data directory."""
        return self.database or f"sqlite:///{self.data_dir / 'hub.db'}"


def declared(home: Path, *, root: bool) -> tuple[Setting, ...]:
    """Every setting of the hub, its own and the documented ones."""
    return (*_own(home, root=root), *_access(), *documented("hub"))


def _own(home: Path, *, root: bool) -> tuple[Setting, ...]:
    day = 86_400.0
    return (
        Setting("data_dir", "path", default_data_dir(home, root=root),
                "Database, administrator's token and keys of this hub.",
                general="storage.path", take=lambda path: Path(str(path)).parent),
        Setting("listen", "text", "127.0.0.1:8600",
                "Address and port. Without TLS the hub listens on loopback only; port 0 is a free one.",
                check=lambda value: listen_fault(value, secure=True)),
        Setting("nodes.listen", "text", "127.0.0.1:8601",
                "Address and port for nodes, with TLS of the fleet's own; any address of this machine may stand here.",
                check=nodes_listen_fault),
        Setting("nodes.method", "word", "certificate",
                "How nodes prove who they are: by «certificate», at `nodes.listen`, or by «secret», at `listen` and so on "
                "this machine only, for a hub behind somebody's own TLS proxy.",
                words=("certificate", "secret")),
        Setting("nodes.address", "text", None,
                "Where nodes reach this hub, as they are told; by default https:// and `nodes.listen`. With «secret»: "
                "`address`.",
                check=_nodes_address_fault),
        *_tls(),
        Setting("nodes.rate", "integer", 30,
                "How many wrong enrolment tokens may come from one address within an hour, before it has to wait.", low=1),
        Setting("hosts", "text", None,
                "Names, with commas, under which a proxy on this machine serves the page to browsers."),
        Setting("database", "text", None,
                "«postgresql://USER@HOST/NAME», which several hubs may share; by default the file hub.db in the data directory.",
                general="storage.path", take=lambda path: f"sqlite:///{path}"),
        Setting("address", "text", None,
                "Where nodes and the other hubs of the database reach this one; by default http:// and `listen`.",
                check=_address_fault),
        Setting("fleet", "text", "default", "The fleet's name, as the page shows it.",
                check=lambda value: name_fault(str(value))),
        Setting("retention.measurements", "duration", 30 * day,
                "How long measurements are kept.", unit="seconds", low=60, high=3650 * day),
        Setting("retention.events", "duration", 365 * day,
                "How long events are kept.", unit="seconds", low=60, high=3650 * day),
        Setting("retention.gaps", "duration", 365 * day,
                "How long records of gaps are kept.", unit="seconds", low=60, high=3650 * day),
        Setting("retention.files", "duration", 365 * day,
                "How long files are kept.", unit="seconds", low=60, high=3650 * day),
        stream_rules("the age of its kind"),
        Setting("blobs.url", "text", None,
                "Where models and files are kept: «s3://BUCKET/PREFIX»; by default directories in the data directory.",
                check=_blobs_fault),
        Setting("blobs.endpoint", "text", None,
                "Address of an S3-compatible server that is not Amazon's.", check=_endpoint_fault),
        Setting("blobs.region", "text", "us-east-1", "Region of the bucket."),
        Setting("blobs.access_key", "text", None, "Name of the key; without one, what the machine's role gives."),
        Setting("blobs.secret_key_file", "path", None,
                "File with the secret key on one line; nobody else may read it."),
        Setting("storage.database_apart", "boolean", default=False,
                doc="PostgreSQL keeps the database on another disk than the one that backups go to. A hub cannot tell."),
        Setting("encryption.storage.key", "text", "file",
                "Where the key of the data keys comes from: file, file:/PATH, passphrase:/PATH, credential:NAME, tpm or "
                "tpm:sha256:7. The same key for all hubs of one database.", check=source_fault),
    )  # fmt: skip


def nodes_listen_fault(value: object) -> str | None:
    """What is wrong with an address to serve nodes at, with TLS."""
    try:
        host, _ = split_listen(str(value))
        if host != "localhost":
            ipaddress.ip_address(host)
    except ValueError:
        return f"«{value}» is not an address of a machine: write for example 0.0.0.0:8601"
    return None


def _nodes_address_fault(value: object) -> str | None:
    text = str(value)
    return (
        None
        if is_url(text) and text.startswith("https://")
        else f"«{value}» is no https address: write https://HOST:8601"
    )


def _tls() -> tuple[Setting, ...]:
    return (
        Setting("tls.certificate", "path", None,
                "Certificate of the listener for people (PEM, its chain after it). With it and its key the hub speaks TLS 1.3 "
                "there, and may listen on any address.",
                general="encryption.communication.certificate_path"),
        Setting("tls.key", "path", None,
                "Key of that certificate (PEM, no password); nobody else may read it. Both are read again when they change.",
                general="encryption.communication.key_path"),
    )  # fmt: skip


def _access() -> tuple[Setting, ...]:
    return (
        Setting("access.tunnel_idle", "duration", 900.0,
                "How long a tunnel to a node, or a command in a workload, stays open while no byte moves.", unit="seconds", low=1, high=86_400.0),
        Setting("access.tunnel_duration", "duration", 43_200.0,
                "How long a tunnel to a node, or a command in a workload, may last.", unit="seconds", low=1, high=30 * 86_400.0),
        Setting("access.proxies", "text", None,
                "Addresses or networks, with commas, of proxies before this hub: whom they name as the last in X-Forwarded-For "
                "is who asks, for limits and the audit log. They must add to that header, or replace it.",
                check=_proxies_fault),
    )  # fmt: skip


def _proxies_fault(value: object) -> str | None:
    for each in AccessSection(proxies=str(value)).proxy_networks:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            return f"«{each}» is no address and no network: write for example 10.0.0.7, 10.1.0.0/24"
    return None


def _address_fault(value: object) -> str | None:
    """The other hubs send the administrator's token there."""
    text = str(value)
    if not is_url(text):
        return f"«{value}» is not an address: write https://HOST"
    parts = urlsplit(text)
    if parts.scheme == "https" or _is_loopback(parts.hostname or ""):
        return None
    return (
        f"«{value}» is not on loopback and has no TLS: the other hubs would send the administrator's token there in the "
        "clear. Write https://HOST, the address of a TLS proxy."
    )


def default_data_dir(home: Path, *, root: bool) -> Path:
    """/var/lib/skerry/hub for root, else ~/.local/share/skerry/hub."""
    return Path("/var/lib/skerry/hub") if root else home / ".local/share/skerry/hub"


def find_settings(
    configs: Sequence[Path] = (),
    *,
    options: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Configured]:
    """Every setting with its origin; of several files a later one wins. Raises InvalidInput listing all that is wrong.

    A file that describes an agent is checked and left out.
    """
    settings = declared(Path.home(), root=os.geteuid() == 0)
    given = tuple(SourceFile(str(config), read_text(config)) for config in configs)
    settings = (*settings, *named_entities(given))
    files, _ = set_apart(given, settings)
    sources = Sources(
        files=files,
        environment=os.environ if environment is None else environment,  # noqa: TID251 - the one place on the hub
        prefix=PREFIX,
        options=options or {},
    )
    return load(settings, sources)


def settings_to_start(configs: Sequence[Path], options: Mapping[str, str]) -> HubSettings:
    """The settings of a hub that is about to start. Raises InvalidInput.

    Refuses files for a node, and settings that ask for a protection that this build does not have.
    """
    found = find_settings(configs, options=options)
    mode = found["runtime.mode"]
    if mode.value != "central":
        raise InvalidInput(
            f"{mode.origin}: runtime.mode is «{mode}»: this is for «skerry node run», not for a hub"
        )
    refuse_to_start("hub", found)
    settings = hub_settings(found)
    fault = tls_fault(settings, found)
    if fault is not None:
        raise InvalidInput(fault)
    try:
        settings.access_control.roles()
    except InvalidInput as error:
        raise InvalidInput(
            f"{found['access_control.authorization.roles'].origin}: {error}"
        ) from error
    return settings


def tls_fault(settings: HubSettings, found: Mapping[str, Configured]) -> str | None:
    """What of the settings of TLS does not go together, as a sentence."""
    given = settings.tls.certificate, settings.tls.key
    if any(given) and not all(given):
        return "cannot speak TLS: «tls.certificate» and «tls.key» belong together; one of them is missing"
    wanted = found["encryption.communication.enabled"]
    if wanted.value and not settings.tls.is_on:
        return (
            f"{wanted.origin}: encryption.communication.enabled asks for TLS: set «tls.certificate» and «tls.key», or the "
            "documented certificate_path and key_path"
        )
    fault = listen_fault(settings.listen, secure=settings.tls.is_on)
    return None if fault is None else f"{found['listen'].origin}: listen: {fault}"


def hub_settings(found: Mapping[str, Configured]) -> HubSettings:
    """The settings as one value."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")  # noqa: TID251 - as above
    settings = msgspec.convert(nested(found), HubSettings)
    return msgspec.structs.replace(settings, credentials=Path(credentials) if credentials else None)


def split_listen(listen: str) -> tuple[str, int]:
    """Address and port of «127.0.0.1:8600» or «[::1]:8600». Raises ValueError when it is neither."""
    match = _LISTEN.fullmatch(listen)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(listen)
    return match["six"] or match["host"], int(match["port"])


def _blobs_fault(value: object) -> str | None:
    fits = value is None or re.fullmatch(r"s3://[^/]+(/[^?#]*)?", str(value))
    return (
        None
        if fits
        else f"«{value}» is no place for blobs: write s3://BUCKET or s3://BUCKET/PREFIX"
    )


def _endpoint_fault(value: object) -> str | None:
    return None if value is None or is_url(str(value)) else f"«{value}» is no http or https address"


def listen_fault(value: object, *, secure: bool) -> str | None:
    """What is wrong with an address to listen on. Only loopback is safe unless it is `secure`: tokens travel in the clear."""
    try:
        host, _ = split_listen(str(value))
    except ValueError:
        return f"«{value}» is not an address: write for example 127.0.0.1:8600"
    if secure or _is_loopback(host):
        return None
    return (
        f"«{value}» is not on loopback, and without «tls.certificate» and «tls.key» passwords and tokens would travel in "
        "the clear. Set both, or let a TLS proxy or «ssh -L» on this machine forward to 127.0.0.1."
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
