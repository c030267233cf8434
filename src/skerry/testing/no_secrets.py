"""A device whose workloads need no secrets, for tests that are about something else."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from skerry.node.secrets.on_demand import SecretsOnDemand
from skerry.node.workloads.runtimes.secret_files import SecretFiles

_NOWHERE = Path("/proc/no-secrets")


def _none() -> NoReturn:
    raise AssertionError("nothing here needs a secret")


def no_secrets() -> SecretsOnDemand:
    """Answers for workloads that name none."""
    return SecretsOnDemand(_none, lambda: ())


def no_secret_files() -> SecretFiles:
    """Keeps nothing."""
    return SecretFiles(_NOWHERE, lambda: ())


def no_secrets_at(workload: str, instance: str) -> Path:
    """Nothing is ever there."""
    return _NOWHERE / workload / instance
