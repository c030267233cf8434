"""What hub and node both know of secrets: what an envelope is bound to, and what a workload gets of them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from skerry.wire.codec import encode
from skerry.wire.secrets import SealedSecret
from skerry.wire.workload import WorkloadSpec

_PURPOSE = "skerry secret 1"


def key_id(public: bytes) -> str:
    """What a node's public key is called."""
    return hashlib.sha256(public).hexdigest()[:16]


def bound_to(secret: SealedSecret, node_id: str) -> bytes:
    """What an envelope is for: one that was made for another node, name or version does not open."""
    return encode([_PURPOSE, node_id, secret.name, secret.version, secret.id])


def names_used(spec: WorkloadSpec) -> list[str]:
    """Every secret that the workload needs, once."""
    names = [use.name for use in spec.secrets]
    if spec.container is not None and spec.container.pull_secret is not None:
        names.append(spec.container.pull_secret)
    return list(dict.fromkeys(names))


def restarting(spec: WorkloadSpec, secrets: Sequence[SealedSecret]) -> list[tuple[str, str]]:
    """The values that an instance is made from: when one is another, it is replaced."""
    names = {use.name for use in spec.secrets if use.restart}
    return sorted((each.name, each.id) for each in secrets if each.name in names)


def environment_of(spec: WorkloadSpec, values: Mapping[str, bytes]) -> dict[str, str]:
    """The variables of a workload that are secrets. One line end at the end of a value is left out.

    Raises ValueError with the name of a secret that no variable can hold.
    """
    found = {}
    for use in spec.secrets:
        if use.env is not None:
            try:
                text = values[use.name].removesuffix(b"\n").decode()
            except UnicodeDecodeError as error:
                raise ValueError(use.name) from error
            if "\0" in text:
                raise ValueError(use.name)
            found[use.env] = text
    return found


def files_of(spec: WorkloadSpec, values: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a workload that are secrets, by their names."""
    named = ((use.file_name, values[use.name]) for use in spec.secrets)
    return {name: value for name, value in named if name is not None}
