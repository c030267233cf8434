"""What is weak on this node, for `skerry doctor --security`: pure functions over `Surface`.

A weakness is a warning where a person may have wanted it so, and a failure where nobody can. As in `checks`, one
function and one line in WEAKNESSES each. Loaded when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from skerry.core.names import first_names, looks_secret
from skerry.node.node_settings import KeyKind
from skerry.wire.local import BackupStatus, CheckResult, KeyStatus
from skerry.wire.workload import WorkloadSpec

_OTHERS_CAN = 0o077


class Surface(msgspec.Struct, frozen=True):
    """What can be attacked on this device, at one moment.

    `own_key` is where the key is by which this node proves itself to the hub; None: it has none. `files` are those that nobody else may read, with their modes. `hub_url` is where the hub is spoken to; empty: nowhere.
    """

    hub_url: str
    files: dict[str, int]
    keys: KeyStatus
    own_key: KeyKind | None
    backups: BackupStatus | None
    workloads: list[WorkloadSpec]
    public_port: int | None
    core_limit: int
    is_root: bool


def files(surface: Surface) -> CheckResult:
    """Keys, secrets and the directory that holds them."""
    open_to_others = {path: mode for path, mode in surface.files.items() if mode & _OTHERS_CAN}
    if open_to_others:
        shown = ", ".join(f"{path} ({mode:o})" for path, mode in sorted(open_to_others.items()))
        return CheckResult(
            "files",
            "failed",
            f"others may read {shown}",
            f"chmod go= {' '.join(sorted(open_to_others))}",
        )
    return CheckResult("files", "ok", "keys, secrets and data are the node's only")


def link(surface: Surface) -> CheckResult:
    """How the hub is spoken to."""
    if not surface.hub_url:
        return CheckResult("link to the hub", "skipped", "this node speaks to no hub")
    if surface.hub_url.startswith("https:"):
        return CheckResult("link to the hub", "ok", f"TLS to {surface.hub_url}")
    return CheckResult(
        "link to the hub",
        "warning",
        f"plain HTTP to {surface.hub_url}: whoever controls the way there reads and changes everything",
        "enrol this node at the hub's address for nodes, https://…: skerry node enroll",
    )


def own_key(surface: Surface) -> CheckResult:
    """What a copied disk proves to the hub."""
    name = "this node's key"
    if surface.own_key is None:
        return CheckResult(name, "skipped", "it proves itself by no certificate")
    if surface.own_key == "tpm":
        return CheckResult(name, "ok", "in this device's TPM, which never gives it out")
    if surface.keys.enabled and not surface.keys.beside:
        return CheckResult(name, "ok", "in a file, sealed; in the agent's memory while it runs")
    return CheckResult(
        name,
        "warning",
        "in a file that opens with nothing but the disk: whoever copies that is this node to the hub",
        "trust.key: tpm, then skerry node enroll --again; without a TPM encryption.storage.key: passphrase:FILE",
    )


def at_rest(surface: Surface) -> CheckResult:
    """What a stolen disk tells."""
    keys = surface.keys
    if not keys.enabled:
        return CheckResult(
            "data at rest",
            "warning",
            "not encrypted: whoever has the disk reads it",
            "encryption.storage.enabled: true, with key: tpm or passphrase:FILE",
        )
    if keys.beside:
        return CheckResult(
            "data at rest",
            "warning",
            f"encrypted, but the key ({keys.source}) lies on the same disk",
            "encryption.storage.key: tpm, or passphrase:FILE from another medium",
        )
    return CheckResult("data at rest", "ok", str(keys))


def backups(surface: Surface) -> CheckResult:
    """What a stolen backup tells."""
    if surface.backups is None:
        return CheckResult("backups", "skipped", "none are made")
    if not surface.keys.enabled:
        return CheckResult(
            "backups",
            "warning",
            f"those in {surface.backups.directory} are not encrypted",
            "encryption.storage.enabled: true encrypts backups, too",
        )
    return CheckResult("backups", "ok", "encrypted")


def isolation(surface: Surface) -> CheckResult:
    """Native workloads that can do whatever the node's user can."""
    loose = [
        spec.name
        for spec in surface.workloads
        if spec.container is None and spec.wasm is None and spec.isolation != "strict"
    ]
    if loose:
        who = "root" if surface.is_root else "the node's user"
        return CheckResult(
            "isolation of workloads",
            "warning",
            f"not strict, so they can do what {who} can: {first_names(loose)}",
            "isolation: strict in the workload's file; skerry doctor says whether this device can",
        )
    return CheckResult("isolation of workloads", "ok", "every native workload is strict")


def containers(surface: Surface) -> CheckResult:
    """Containers that are as good as root on this device."""
    strong = [spec.name for spec in surface.workloads if _is_strong(spec)]
    if strong:
        return CheckResult(
            "containers",
            "warning",
            f"privileged, with added capabilities or with the host's network: {first_names(strong)}",
            "give them single devices and ports instead of «privileged», «cap_add» and «network: host»",
        )
    return CheckResult("containers", "ok", "none has the device's own rights")


def images(surface: Surface) -> CheckResult:
    """Images whose content another may change."""
    loose = [
        spec.name
        for spec in surface.workloads
        if spec.container is not None and "@sha256:" not in spec.container.image
    ]
    if loose:
        return CheckResult(
            "images",
            "warning",
            f"named by a tag, which a registry may move: {first_names(loose)}",
            "container.image: NAME@sha256:DIGEST",
        )
    return CheckResult("images", "ok", "every image is named by its digest")


def environments(surface: Surface) -> CheckResult:
    """What looks like a secret in the environment of a workload, which whoever may read at the hub sees."""
    found = [
        f"{spec.name} ({name})"
        for spec in surface.workloads
        for name in spec.env
        if looks_secret(name)
    ]
    if found:
        return CheckResult(
            "environments",
            "warning",
            f"look like secrets: {first_names(found)}",
            "give it as a secret of the fleet instead: skerry secret set",
        )
    return CheckResult("environments", "ok", "nothing in them looks like a secret")


def port(surface: Surface) -> CheckResult:
    """The read-only port."""
    if surface.public_port is None:
        return CheckResult("read-only port", "ok", "closed")
    return CheckResult(
        "read-only port",
        "warning",
        f"any program of this device reads the node's status at 127.0.0.1:{surface.public_port}",
        "api.port: 0 closes it; monitoring may use the admin socket",
    )


def dumps(surface: Surface) -> CheckResult:
    """What the agent's memory leaves on the disk when it crashes."""
    if surface.core_limit:
        return CheckResult(
            "crash dumps",
            "warning",
            "the agent may leave its memory, with its keys, on the disk when it crashes",
            "start it with ulimit -c 0, or LimitCORE=0 in its unit",
        )
    return CheckResult("crash dumps", "ok", "the agent leaves none")


WEAKNESSES: tuple[Callable[[Surface], CheckResult], ...] = (
    files,
    link,
    own_key,
    at_rest,
    backups,
    isolation,
    containers,
    images,
    environments,
    port,
    dumps,
)


def weaknesses(surface: Surface) -> list[CheckResult]:
    """Every check, in the order in which people read them."""
    return [check(surface) for check in WEAKNESSES]


def _is_strong(spec: WorkloadSpec) -> bool:
    container = spec.container
    if container is None:
        return False
    return container.privileged or bool(container.cap_add) or container.network == "host"
