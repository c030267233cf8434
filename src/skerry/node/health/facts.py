"""What the checks of `skerry doctor` look at. `node.services` collects it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from skerry.node.proof import CertificateStatus
from skerry.wire.local import (
    BackupStatus,
    CheckResult,
    KeyStatus,
    MemoryUsage,
    StorageUsage,
    SyncStatus,
)
from skerry.wire.workload import WorkloadStatus

_OFF = KeyStatus(enabled=False)


class Facts(msgspec.Struct, frozen=True):
    """What the checks look at, collected at one moment."""

    data_dir: str
    data_dir_mode: int
    free_bytes: int
    store_problem: str
    damaged_files: tuple[str, ...]
    keeper_pid: int | None
    workloads: tuple[WorkloadStatus, ...]
    sync: SyncStatus
    offline_seconds: float
    clock_skew: float | None
    """Our wall clock minus the hub's, in seconds; None when the hub was never heard."""
    open_files_limit: int
    secret_mode: int | None
    """None: not enrolled; 0: it is not there."""
    public_port: int | None
    wanted_port: int
    isolation: str | None = None
    """What this device can isolate native workloads with; None: nobody has looked."""
    no_strict: str = ""
    """Why «isolation: strict» cannot be had for them."""
    engine: str = ""
    """The container engine that answers."""
    no_engine: str = ""
    """Why none does; both are empty when nobody has looked."""
    containers: int = 0
    """Workloads that need one."""
    no_broker: str | None = None
    """Why drivers of twins have no broker; empty: they have one. None: this node serves no twins."""
    memory: MemoryUsage | None = None
    """None: it is not limited."""
    storage: StorageUsage | None = None
    """None: nobody has looked yet."""
    keys: KeyStatus = _OFF
    backups: BackupStatus | None = None
    certificate: CertificateStatus | None = None
    """None: this node needs none."""
    now: int = 0
    """Wall ns."""


Check = Callable[[Facts], CheckResult]
