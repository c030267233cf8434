"""The environment of a workload, as far as the SDK needs it."""

from __future__ import annotations

import os

from skerry.kit.errors import Refused


def instance() -> str:
    """Which start of the workload this is; empty when it does not know."""
    return os.environ.get("SKERRY_INSTANCE", "")  # noqa: TID251 - this is the SDK's settings module


def socket_path() -> str:
    """The workload's own socket. Raises Refused in a process that no node has started."""
    path = os.environ.get("SKERRY_SOCKET")  # noqa: TID251 - this is the SDK's settings module
    if not path:
        raise Refused(
            "cannot reach a node: SKERRY_SOCKET is not set, so this process is no workload of Skerry. "
            "Start it with «skerry apply», or set SKERRY_SOCKET to a workload's socket on this device."
        )
    return path
