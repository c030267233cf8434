"""The runner's environment: what of it the module sees."""

from __future__ import annotations

import os

from skerry.wire.wasm import VARIABLE

_OF_THE_NODE = ("SKERRY_WORKLOAD", "SKERRY_NODE", "SKERRY_INSTANCE")


def module_environment() -> dict[str, str]:
    """`env` of the spec and who the workload is; neither its socket nor anything else of the runner's."""
    own = os.environ  # noqa: TID251 - this is the runner's settings module
    given = {name.removeprefix(VARIABLE): own[name] for name in own if name.startswith(VARIABLE)}
    return given | {name: own[name] for name in _OF_THE_NODE if name in own}
