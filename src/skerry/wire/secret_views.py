"""Secrets as people set and see them: `/api/v1/secrets`, `skerry secret`.

No view has a value: it goes to the hub once, and from there only sealed to the nodes that use it.
"""

from __future__ import annotations

import msgspec

from skerry.wire.workload import Selector

MAX_VALUE = 64 * 1024
"""Bytes of a secret."""


class SecretPut(msgspec.Struct, frozen=True):
    """A secret's new value, and which nodes may have it: without `on` as it was, or any that use it."""

    value: bytes
    on: Selector | None = None

    def __repr__(self) -> str:
        return "SecretPut()"


class SecretView(msgspec.Struct, frozen=True):
    """A secret without its value. `used_by` are workloads, `nodes` those that have it now; `set_at` is ns since 1970.

    `problem` says why no further node can get it.
    """

    name: str
    version: int
    on: Selector
    set_at: int
    set_by: str
    used_by: list[str]
    nodes: list[str]
    problem: str = ""
