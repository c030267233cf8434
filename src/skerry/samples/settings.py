"""The environment of the samples: what `env:` of their workloads sets."""

from __future__ import annotations

import os


def text(name: str, default: str) -> str:
    """The variable `name`, or `default`."""
    return os.environ.get(name, default)  # noqa: TID251 - this is the samples' settings module
