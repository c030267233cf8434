"""What a contract gives a container besides its spec (`ports.ContainerExtras`), merged into the body of «create». Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from skerry.kit.errors import Refused
from skerry.node.ports import ContainerExtras

_OURS_ALONE = frozenset({"LogConfig", "AutoRemove"})
"""Without these the node could not read what a container prints, or how it ended."""

_STRICT_HOST = frozenset(
    [
        "Binds",
        "CapDrop",
        "CpuPeriod",
        "CpuQuota",
        "CpuShares",
        "CpusetCpus",
        "ExtraHosts",
        "Init",
        "Memory",
        "MemorySwap",
        "Mounts",
        "NanoCpus",
        "RestartPolicy",
        "ShmSize",
        "Ulimits",
    ]
)
_STRICT_CONFIG = frozenset(
    [
        "Cmd",
        "Entrypoint",
        "Env",
        "ExposedPorts",
        "Hostname",
        "Labels",
        "StopSignal",
        "StopTimeout",
        "WorkingDir",
    ]
)
_QUOTA = frozenset({"CpuPeriod", "CpuQuota"})


def check_extras(extras: ContainerExtras, *, strict: bool) -> None:
    """Raises Refused for what would take the container from us, or undo `isolation: strict`."""
    if taken := sorted(_OURS_ALONE & extras.host.keys()):
        raise Refused(f"its contract sets {taken[0]}, which is this node's alone: leave it out")
    undone = (extras.host.keys() - _STRICT_HOST) | (extras.config.keys() - _STRICT_CONFIG)
    if strict and undone:
        raise Refused(
            f"isolation «strict» gives no container {', '.join(sorted(undone))}, for which its contract asks: "
            "leave that out, or write isolation: standard"
        )


def sources(extras: ContainerExtras) -> Iterator[str]:
    """What of the device it is shown, as volumes."""
    yield from extras.host.get("Binds", ())
    for mount in extras.host.get("Mounts", ()):
        yield str(mount.get("Source", ""))


def with_extras(body: Mapping[str, Any], extras: ContainerExtras) -> dict[str, object]:
    """The body with them. In HostConfig, lists come after its own and maps are joined, theirs first; our labels stay."""
    return {
        **body,
        **extras.config,
        "HostConfig": _host(body["HostConfig"], extras.host),
        "Env": [*body["Env"], *extras.config.get("Env", ())],
        "Labels": {**extras.config.get("Labels", {}), **body["Labels"]},
    }


def _host(own: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, object]:
    kept = dict(own)
    if _QUOTA & more.keys():  # an engine takes one of the two ways to say it
        kept.pop("NanoCpus", None)
    if "Memory" in more:
        kept.pop("MemorySwap", None)
    host = {**kept, **{name: _joined(kept.get(name), value) for name, value in more.items()}}
    if "RestartPolicy" in more:  # a whole: another policy's number of tries means nothing
        host["RestartPolicy"] = more["RestartPolicy"]
    if "Ulimits" in host:
        host["Ulimits"] = list({one["Name"]: one for one in _limits(host["Ulimits"])}.values())
    return host


def _joined(own: object, more: object) -> object:
    if isinstance(own, Mapping) and isinstance(more, Mapping):
        return {**own, **more}
    if isinstance(own, list) and isinstance(more, Sequence) and not isinstance(more, str):
        return [*own, *more]
    return more


def _limits(value: object) -> Sequence[Mapping[str, object]]:
    return cast("Sequence[Mapping[str, object]]", value)
