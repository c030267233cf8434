"""What is weak at the hub, for `skerry doctor --security`: asked of it, then judged by pure functions over `HubSurface`."""

from __future__ import annotations

import msgspec

from skerry.cli.http import Api
from skerry.core.names import first_names, looks_secret
from skerry.kit.clock import NS
from skerry.kit.errors import NotFound, Refused
from skerry.wire.access import AccessTokenView
from skerry.wire.local import CheckResult, KeyStatus
from skerry.wire.people import WorkloadView
from skerry.wire.trust import TrustView
from skerry.wire.workload import WorkloadSpec

LONG = 90 * 86_400 * NS


class HubSurface(msgspec.Struct, frozen=True):
    """What can be attacked at the hub. `trust` None: its nodes have no certificates; `tokens` None: it does not tell who asks."""

    keys: KeyStatus
    trust: TrustView | None
    tokens: list[AccessTokenView] | None
    workloads: list[WorkloadSpec]
    now: int


async def hub_surface(hub: Api, now: int) -> HubSurface:
    """As the hub tells whoever the command asks as."""
    views = await hub.get("/api/v1/workloads", list[WorkloadView])
    try:
        trust = await hub.get("/api/v1/trust", TrustView)
    except NotFound:
        trust = None
    try:
        tokens = await hub.get("/api/v1/access/tokens", list[AccessTokenView])
    except Refused:
        tokens = None
    keys = await hub.get("/api/v1/keys", KeyStatus)
    return HubSurface(keys, trust, tokens, [view.spec for view in views], now)


def hub_weaknesses(surface: HubSurface) -> list[CheckResult]:
    """Every check, in the order in which people read them."""
    return [
        _at_rest(surface),
        _nodes(surface),
        _root(surface),
        _tokens(surface),
        _environments(surface),
    ]


def _at_rest(surface: HubSurface) -> CheckResult:
    name = "hub: data at rest"
    if not surface.keys.enabled:
        fix = "encryption.storage.enabled: true in hub.yaml, with a key from elsewhere; it encrypts backups, too"
        return CheckResult(name, "warning", "not encrypted, and so are its backups", fix)
    if surface.keys.beside:
        found = f"encrypted, but the key ({surface.keys.source}) lies on the same disk"
        return CheckResult(name, "warning", found, "encryption.storage.key: passphrase:FILE or tpm")
    return CheckResult(name, "ok", str(surface.keys))


def _nodes(surface: HubSurface) -> CheckResult:
    name = "hub: nodes"
    if surface.trust is None:
        fix = "nodes.method: certificate in hub.yaml, then skerry node enroll --again on each"
        return CheckResult(name, "warning", "prove themselves by secrets, in plain HTTP", fix)
    if surface.trust.behind:
        found = f"do not have the newest root yet: {first_names(surface.trust.behind)}"
        return CheckResult(
            name, "warning", found, "let them come online before «hub ca rotate --finish»"
        )
    return CheckResult(name, "ok", "prove themselves by certificates")


def _root(surface: HubSurface) -> CheckResult:
    name = "hub: root's key"
    if surface.trust is None:
        return CheckResult(name, "skipped", "there is none")
    if surface.trust.root_key:
        found = "lies at the hub: whoever takes the hub makes nodes and hubs of this fleet for ten years"
        return CheckResult(
            name, "warning", found, "take it offline: skerry hub ca export FILE --remove"
        )
    return CheckResult(name, "ok", "is not at the hub")


def _tokens(surface: HubSurface) -> CheckResult:
    name = "hub: tokens"
    if surface.tokens is None:
        return CheckResult(name, "skipped", "the hub does not tell: this token may not list others")
    lasting = [
        each.name
        for each in surface.tokens
        if each.state == "valid" and each.expires_at - surface.now > LONG
    ]
    if lasting:
        found = f"good for more than 90 days: {first_names(lasting)}"
        return CheckResult(
            name, "warning", found, "skerry access token revoke NAME, and shorter ones"
        )
    return CheckResult(name, "ok", "none is good for more than 90 days")


def _environments(surface: HubSurface) -> CheckResult:
    name = "hub: environments"
    found = [
        f"{spec.name} ({key})"
        for spec in surface.workloads
        for key in spec.env
        if looks_secret(key)
    ]
    if found:
        fix = "whoever may read at the hub sees them: skerry secret set, and «secrets» in the file"
        return CheckResult(name, "warning", f"look like secrets: {first_names(found)}", fix)
    return CheckResult(name, "ok", "nothing in them looks like a secret")
