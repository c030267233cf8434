"""The node's settings: node.yaml, environment and options → one frozen value. Nothing else here reads either.

The value is `node_settings.NodeSettings`; what a setting means stands in its declaration below.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from skerry.core.agent_file import not_run, set_apart
from skerry.core.config import (
    Configured,
    Found,
    SourceFile,
    Sources,
    load,
    nested,
    refuse_to_start,
    variable_of,
)
from skerry.core.documented import documented
from skerry.core.entity_settings import named_entities
from skerry.core.local_access import names_fault
from skerry.core.names import label_fault, looks_secret, name_fault, url_fault
from skerry.core.setting_values import Setting
from skerry.core.stream_settings import stream_rules
from skerry.kit.errors import InvalidInput
from skerry.kit.nearest import did_you_mean
from skerry.kit.sealing.sources import source_fault
from skerry.kit.socket_path import checked_socket_path
from skerry.kit.text_file import read_text
from skerry.node.cyberwave_settings import cyberwave_settings
from skerry.node.hub_addresses import written
from skerry.node.node_settings import STORE_FILE, NodeSettings
from skerry.node.proxies import proxies_in

PREFIX = "SKERRY_NODE_"
FILE_NAME = "node.yaml"
LEVELS = ("debug", "info", "warning", "error")


def declared(home: Path, *, root: bool, host: str) -> tuple[Setting, ...]:
    """Every setting of the node, its own and the documented ones."""
    return (
        *_own(home, root=root, host=host),
        *_access(),
        *_trust(),
        *cyberwave_settings(),
        *documented("node"),
    )


def _own(home: Path, *, root: bool, host: str) -> tuple[Setting, ...]:
    return (
        Setting("name", "text", default_name(host),
                "What the node asks to be called when it is enrolled. The hub's answer holds from then on.",
                check=lambda value: name_fault(str(value))),
        Setting("labels", "texts", {}, "What workloads select nodes by.", check=_labels_fault),
        Setting("data_dir", "path", default_data_dir(home, root=root),
                "Store, sockets, logs and identity of this node. One directory is one node.",
                general="storage.path", take=_directory_of),
        Setting("hub.url", "text", None,
                "Where the hub is, if not where the node was enrolled; several addresses of one hub with commas, the first "
                "preferred.", check=_hubs_fault, general="sync.central_url"),
        Setting("hub.ca_file", "path", None,
                "Authorities (PEM) that are trusted for https besides those of the system; a hub that gives certificates needs none."),
        Setting("sync.network.monthly_cap", "size", None,
                "Bytes that sync may move in a calendar month (UTC), both ways. At 80 % a warning, from the cap on only high "
                "priority.", unit="bytes", low=1_000_000),
        Setting("sync.network.critical_only", "boolean", default=False,
                doc="Only high priority goes: events, statuses, what the hub wants of this node. Everything else waits."),
        Setting("sync.network.metered", "word", "no",
                "Whether the link is paid by the byte; then only high priority goes: yes, no, or auto (while the default route is "
                "a cellular modem).", words=("yes", "no", "auto")),
        Setting("api.port", "integer", 8000,
                "Read-only port on 127.0.0.1 for monitoring; 0 switches it off.", low=0, high=65535),
        Setting("records.keep_limit", "size", 1_000_000_000,
                "Room for records of class «keep» and for events. When it is full, publishing is refused.",
                unit="bytes", low=1_000_000),
        Setting("records.sample_limit", "size", 500_000_000,
                "Room for records of class «sample». When it is full, the oldest are thinned.",
                unit="bytes", low=1_000_000),
        stream_rules("7d after the hub has them, or until they are in a backup of the hub"),
        Setting("runtime.storage_check_interval", "duration", 30.0,
                "How often the data directory is measured.", unit="seconds", low=0.1, high=86400),
        Setting("runtime.memory_check_interval", "duration", 2.0,
                "How often memory is looked at when it is limited.", unit="seconds", low=0.1, high=3600),
        Setting("containers.socket", "path", None,
                "Socket of the Docker or Podman engine. By default that of DOCKER_HOST (unix://), else the usual places."),
        Setting("containers.registries", "tables", {},
                "Registries that want a password, «HOST: {username: NAME, password_file: /PATH}»; nobody else may read "
                "the file.", check=_registries_fault),
        Setting("isolation.users", "text", "64000-64999",
                "Numbers of the users that workloads with «isolation: strict» get, each its own.", check=_users_fault),
        Setting("models.cache_limit", "size", 5_000_000_000,
                "Room for models. Above it, those that no workload needs go, the least recently used first.",
                unit="bytes", low=0),
        Setting("models.max_bandwidth", "size", None,
                "Bytes a second that downloads of models may take together; by default as fast as they come.",
                unit="bytes"),
        Setting("files.limit", "size", 2_000_000_000,
                "Room for files that workloads upload. What the hub has goes first; when only others are left, uploads are refused.",
                unit="bytes", low=0),
        Setting("files.max_bandwidth", "size", None,
                "Bytes a second that uploads of files to the hub may take together; by default as fast as they go.",
                unit="bytes", low=1000),
        Setting("encryption.storage.key", "text", "file",
                "Where the key of the data keys comes from: file, file:/PATH, passphrase:/PATH, credential:NAME, tpm or "
                "tpm:sha256:7.", check=source_fault),
        Setting("logs.level", "text", "info", f"How much the node logs: {', '.join(LEVELS)}.",
                check=_level_fault),
    )  # fmt: skip


def _access() -> tuple[Setting, ...]:
    return (
        Setting("access.ssh_directory", "path", Path("/etc/ssh"),
                "Directory of sshd's configuration, where «skerry node ssh-setup» writes what makes it trust the hub."),
        Setting("access.forward", "words", [],
                "Other ports of 127.0.0.1 that people may reach through the hub (skerry port-forward), «[8080, 9000]».",
                check=_ports_fault),
        Setting("access.priority", "word", "high",
                "Class of tunnels on a limited link; all but «high» are refused while only high priority goes.",
                words=("high", "medium", "low")),
        *(
            Setting(f"access.local.{role}", "words", [],
                    f"Users of this device, and «group:NAME», who have the role {role} at the admin socket besides root and the "
                    "node's own user.", check=lambda value: names_fault(msgspec.convert(value, list[str])))
            for role in ("admin", "operator", "monitor")
        ),
        Setting("access.local.directory", "path", None,
                "Where they find the admin socket: as «--data-dir», since nobody else gets into the data directory itself."),
    )  # fmt: skip


def _trust() -> tuple[Setting, ...]:
    return (
        Setting("trust.key", "word", "file",
                "Where the key is made that this node proves itself by: in a file, or in its TPM 2.0, which it never leaves. In "
                "force from the next enrolment.", words=("file", "tpm")),
    )  # fmt: skip


def default_data_dir(home: Path, *, root: bool) -> Path:
    """/var/lib/skerry/node for root, else ~/.local/share/skerry/node."""
    return Path("/var/lib/skerry/node") if root else home / ".local/share/skerry/node"


def default_name(host: str) -> str:
    """A node's name made of a host's name."""
    return (
        re.sub(r"[^a-z0-9]+", "-", host.split(".", maxsplit=1)[0].lower())[:63].strip("-") or "node"
    )


def chosen_data_dir(
    options: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> Path:
    """The data directory by option, environment or default; node.yaml is looked for in there."""
    environment = os.environ if environment is None else environment  # noqa: TID251 - the one place on the node
    written = options.get("data_dir") or environment.get(variable_of("data_dir", PREFIX))
    if written:
        return Path(written).expanduser()
    return default_data_dir(Path.home(), root=os.geteuid() == 0)


def admin_socket(data_dir: Path) -> Path:
    """The socket of the node in `data_dir`. Raises InvalidInput when its path is too long for a socket."""
    return checked_socket_path(data_dir / "run" / "admin.sock")


def files_of(
    configs: Sequence[Path],
    options: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
) -> tuple[SourceFile, ...]:
    """The files that are asked for, read; without any, `node.yaml` in the data directory, if it is there."""
    if not configs:
        usual = chosen_data_dir(options, environment) / FILE_NAME
        configs = [usual] if usual.exists() else []
    return tuple(SourceFile(str(config), read_text(config)) for config in configs)


def find_settings(
    configs: Sequence[Path] = (),
    *,
    options: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Configured]:
    """Every setting with its origin. `configs` are files, a later one wins; by default `node.yaml` in the data directory.

    `options` are values from the command line by setting path. A file that describes an agent is checked and left
    out. Raises InvalidInput listing all that is wrong.
    """
    found, _ = find_all(configs, options=options, environment=environment)
    return found


def find_all(
    configs: Sequence[Path] = (),
    *,
    options: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[dict[str, Configured], list[dict[str, Configured]]]:
    """As `find_settings`, with the descriptions of agents that were among the files."""
    options = options or {}
    environment = os.environ if environment is None else environment  # noqa: TID251 - the one place on the node
    settings = declared(Path.home(), root=os.geteuid() == 0, host=platform.node())
    files = files_of(configs, options, environment)
    settings = (*settings, *named_entities(files))
    files, agents = set_apart(files, settings)
    sources = Sources(
        files=files,
        environment=environment,
        prefix=PREFIX,
        options=options,
    )
    return load(settings, sources), agents


def settings_to_start(
    configs: Sequence[Path], options: Mapping[str, str]
) -> tuple[NodeSettings, list[str]]:
    """The settings of a node that is about to start, and what its person should know. Raises InvalidInput.

    Refuses files for a hub, and settings that ask for a protection that this build does not have.
    """
    found, agents = find_all(configs, options=options)
    mode = found["runtime.mode"]
    if mode.value == "central":
        raise InvalidInput(
            f"{mode.origin}: runtime.mode is «central»: this is for «skerry hub run», not for a node"
        )
    refuse_to_start("node", found)
    named = tuple(path.absolute() for path in configs)
    settings = msgspec.structs.replace(node_settings(found), configs=named)
    return settings, [*_without_effect(found), *map(not_run, agents)]


def _without_effect(found: Found) -> list[str]:
    lacking = [path for path, each in found.items() if each.given and each.lacking]
    if not lacking:
        return []
    first = ", ".join(lacking[:3]) + (" …" if len(lacking) > 3 else "")
    return [f"{len(lacking)} settings have no effect yet («skerry config check» says why): {first}"]


def database_of(found: Found) -> Path:
    """The file of the store of the node that these settings are of."""
    path, data_dir = found["storage.path"].value, found["data_dir"].value
    return Path(str(path)) if path else Path(str(data_dir)) / STORE_FILE


def node_settings(
    found: Mapping[str, Configured], environment: Mapping[str, str] | None = None
) -> NodeSettings:
    """The settings as one value. Raises InvalidInput when the sockets' paths would be too long."""
    environment = os.environ if environment is None else environment  # noqa: TID251 - the one place on the node
    settings = msgspec.convert(nested(found), NodeSettings)
    admin_socket(settings.data_dir)
    chosen = settings.containers.socket
    sockets = _usual_engine_sockets(environment) if chosen is None else (chosen,)
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    return msgspec.structs.replace(
        settings,
        engine_sockets=sockets,
        credentials=Path(credentials) if credentials else None,
        cyberwave=msgspec.structs.replace(
            settings.cyberwave, variables=_cyberwave_variables(environment)
        ),
        proxies=proxies_in(environment),
    )


def _cyberwave_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are documented for Cyberwave's own agent; its keys are for its own cloud and are not taken."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(("CYBERWAVE_", "ZENOH_", "SUDO_USER")) and not looks_secret(name)
    }


def _usual_engine_sockets(environment: Mapping[str, str]) -> tuple[Path, ...]:
    scheme, _, path = environment.get("DOCKER_HOST", "").partition("://")
    if scheme == "unix":
        return (Path(path),)
    own = Path(environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")
    return (
        Path("/var/run/docker.sock"),
        Path("/run/podman/podman.sock"),
        own / "docker.sock",
        own / "podman/podman.sock",
    )


def _labels_fault(value: object) -> str | None:
    labels = msgspec.convert(value, dict[str, str])
    return next((fault for pair in labels.items() if (fault := label_fault(*pair))), None)


def _registries_fault(value: object) -> str | None:
    for host, fields in msgspec.convert(value, dict[str, dict[str, str]]).items():
        if fields.keys() != {"username", "password_file"}:
            return f"«{host}» needs username and password_file, and nothing else"
        if not fields["password_file"].startswith("/"):
            return f"password_file of «{host}» is not an absolute path: begin it with «/»"
    return None


def _directory_of(path: object) -> Path:
    return Path(str(path)).parent


def _hubs_fault(value: object) -> str | None:
    faults = [url_fault(address) for address in written(str(value))]
    return next((fault for fault in faults if fault is not None), None)


def _users_fault(value: object) -> str | None:
    found = re.fullmatch(r"(\d{3,9})-(\d{3,9})", str(value))
    if found is None or not 100 <= int(found[1]) <= int(found[2]):
        return f"«{value}» is not a range of user numbers above 99: write for example 64000-64999"
    return None


def _ports_fault(value: object) -> str | None:
    wrong = [port for port in msgspec.convert(value, list[str]) if not _is_port(port)]
    return f"«{wrong[0]}» is not a port from 1 to 65535" if wrong else None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535


def _level_fault(value: object) -> str | None:
    return (
        None if value in LEVELS else f"unknown level «{value}»: {did_you_mean(str(value), LEVELS)}"
    )
