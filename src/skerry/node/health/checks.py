"""The checks of `skerry doctor`: pure functions over facts that `node.services` collects.

A check is one function and one line in CHECKS; the order there is the order in which people read them.
Every finding says what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from skerry.kit.clock import NS
from skerry.kit.units import format_duration, format_size
from skerry.wire.local import (
    BackupStatus,
    CheckResult,
    KeyStatus,
    LinkStatus,
    MemoryUsage,
    StorageUsage,
    SyncStatus,
)
from skerry.wire.workload import WorkloadStatus

LOW_SPACE = 500_000_000
CRITICAL_SPACE = 50_000_000
SOON_FULL = 7 * 86_400
SKEW_SECONDS = 60.0
FEW_FILES = 1024
OFF = KeyStatus(enabled=False)
OLD_BACKLOG_SECONDS = 3600.0
SHOWN_FOR = 7 * 86_400.0
"""Seconds for which a database that was rebuilt is a warning."""

LATE = 2
"""So many intervals old, the newest backup is too old, whoever should have made another one."""


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
    """None: not enrolled."""
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
    memory: MemoryUsage | None = None
    """None: it is not limited."""
    storage: StorageUsage | None = None
    """None: nobody has looked yet."""
    keys: KeyStatus = OFF
    backups: BackupStatus | None = None
    now: int = 0
    """Wall ns."""


Check = Callable[[Facts], CheckResult]


def data_directory(facts: Facts) -> CheckResult:
    """Nobody else may read the node's files."""
    if facts.data_dir_mode & 0o077:
        return CheckResult(
            "data directory",
            "warning",
            f"{facts.data_dir} has mode {facts.data_dir_mode:o}: other users can look inside",
            f"chmod 700 {facts.data_dir}",
        )
    return CheckResult("data directory", "ok", facts.data_dir)


def disk_space(facts: Facts) -> CheckResult:
    """Records need room; below the reserve nothing is accepted any more."""
    detail = f"{format_size(facts.free_bytes)} free"
    fix = "free space on this file system, or lower records.sample_limit"
    if facts.free_bytes < CRITICAL_SPACE:
        return CheckResult("disk space", "failed", detail, fix)
    if facts.free_bytes < LOW_SPACE:
        return CheckResult("disk space", "warning", detail, fix)
    return CheckResult("disk space", "ok", detail)


def memory(facts: Facts) -> CheckResult:
    """The node's limit of memory."""
    usage = facts.memory
    if usage is None:
        return CheckResult("memory", "skipped", "not limited (runtime.max_memory_usage)")
    if usage.used * 100 >= usage.limit * 90:
        fix = "over the limit, the workload most over its reservation is ended: give each its resources.memory"
        return CheckResult("memory", "warning", str(usage), fix)
    return CheckResult("memory", "ok", str(usage))


def storage(facts: Facts) -> CheckResult:
    """The node's own room on the disk."""
    usage = facts.storage
    if usage is None:
        return CheckResult("storage", "skipped", "not measured yet")
    if usage.limit is not None and usage.used * 100 >= usage.limit * 90:
        fix = "connect the hub, or raise runtime.max_storage_usage; at the limit publishing is refused"
        return CheckResult("storage", "warning", str(usage), fix)
    growth = usage.growth
    if growth is not None and growth.full_in is not None and growth.full_in < SOON_FULL:
        fix = "«skerry storage» says what it is and why it is kept"
        return CheckResult("storage", "warning", f"grows by {growth}; now {usage}", fix)
    return CheckResult("storage", "ok", str(usage))


def store(facts: Facts) -> CheckResult:
    """SQLite's own quick check of node.db."""
    if facts.store_problem:
        return CheckResult(
            "store",
            "failed",
            facts.store_problem,
            "stop the node, keep a copy of node.db, start it again",
        )
    return CheckResult("store", "ok", "node.db passes its integrity check")


def damaged(facts: Facts) -> CheckResult:
    """Files that were set aside because their content is not what was written."""
    if facts.damaged_files:
        names = ", ".join(facts.damaged_files)
        return CheckResult(
            "damaged files",
            "warning",
            f"set aside: {names}",
            "check the disk (smartctl); delete the files when examined",
        )
    return CheckResult("damaged files", "ok", "none")


def keeper(facts: Facts) -> CheckResult:
    """The helper that holds the workloads."""
    if facts.keeper_pid is None:
        return CheckResult(
            "keeper",
            "failed",
            "the keeper does not answer",
            "look at run/keeper.log; the node starts a new one by itself",
        )
    return CheckResult("keeper", "ok", f"process {facts.keeper_pid}")


def workloads(facts: Facts) -> CheckResult:
    """Workloads that are not as they should be."""
    bad = [status for status in facts.workloads if status.phase in {"backoff", "tripped", "failed"}]
    if bad:
        names = ", ".join(f"{status.workload} ({status.phase}: {status.message})" for status in bad)
        return CheckResult("workloads", "warning", names, f"skerry logs {bad[0].workload}")
    return CheckResult("workloads", "ok", f"{len(facts.workloads)} here, none failing")


def enrolment(facts: Facts) -> CheckResult:
    """The node's identity at the hub."""
    if facts.secret_mode is None:
        return CheckResult(
            "enrolment",
            "warning",
            "this node belongs to no hub",
            "skerry node enroll --hub URL --token-file FILE",
        )
    if facts.secret_mode & 0o077:
        return CheckResult(
            "enrolment",
            "failed",
            f"node.secret has mode {facts.secret_mode:o}",
            f"chmod 600 {facts.data_dir}/node.secret",
        )
    status = facts.sync.link
    if status.unknown:
        return CheckResult(
            "enrolment",
            "failed",
            f"the hub at {status.hub} does not know this node any more, or its secret",
            f"enrol it again with a new token (skerry token create): skerry node stop, skerry node enroll --again "
            f"--data-dir {facts.data_dir} --hub {status.hub} --token-file FILE, skerry node run",
        )
    return CheckResult("enrolment", "ok", "enrolled, the secret is readable by the node only")


def double(facts: Facts) -> CheckResult:
    """Another agent that uses this node's identity, because somebody copied its data directory."""
    if facts.sync.double:
        return CheckResult(
            "identity",
            "failed",
            f"another agent with this node's identity is connected from {facts.sync.double}",
            "if the data directory was copied, enrol the copy anew: stop its agent, then on that machine "
            "skerry node enroll --data-dir EMPTY_DIRECTORY --hub URL --token-file FILE",
        )
    return CheckResult("identity", "ok", "no other agent uses it")


def link(facts: Facts) -> CheckResult:
    """The way to the hub."""
    status: LinkStatus = facts.sync.link
    if status.state == "standalone":
        return CheckResult("link", "skipped", status.cause or "no hub is configured")
    if status.state == "offline":
        return CheckResult(
            "link",
            "warning",
            f"offline for {format_duration(facts.offline_seconds)}: {status.cause}",
            "see enrolment; workloads and records go on meanwhile"
            if status.unknown
            else f"check that {status.hub} answers from here; workloads and records go on meanwhile",
        )
    return CheckResult("link", "ok", f"{status.state} to {status.hub}")


def network(facts: Facts) -> CheckResult:
    """What limits the link."""
    if facts.sync.network is None:
        return CheckResult("network", "ok", "not limited (sync.network)")
    from skerry.node.health.link_checks import network_check  # noqa: PLC0415 - most links are not limited

    return network_check(facts.sync.network)


def backlog(facts: Facts) -> CheckResult:
    """Records that wait for the hub."""
    waiting = sum(lane.waiting for lane in facts.sync.lanes)
    detail = f"{waiting} waiting"
    if facts.sync.failures > 3:
        return CheckResult(
            "backlog",
            "warning",
            f"{detail}; {facts.sync.failures} rounds failed in a row",
            "skerry sync status; the node's log says what the hub answered",
        )
    if waiting and facts.offline_seconds > OLD_BACKLOG_SECONDS:
        return CheckResult(
            "backlog", "warning", detail, "they are kept and go out when the link is back"
        )
    return CheckResult("backlog", "ok", detail)


def clock(facts: Facts) -> CheckResult:
    """The device's clock against the hub's."""
    if facts.clock_skew is None:
        return CheckResult("clock", "skipped", "the hub's time is not known yet")
    if abs(facts.clock_skew) > SKEW_SECONDS:
        side = "ahead of" if facts.clock_skew > 0 else "behind"
        return CheckResult(
            "clock",
            "warning",
            f"{format_duration(abs(facts.clock_skew))} {side} the hub; records are marked, never refused",
            "set up time synchronisation (chrony, systemd-timesyncd)",
        )
    return CheckResult("clock", "ok", f"{facts.clock_skew:+.1f} s against the hub")


def open_files(facts: Facts) -> CheckResult:
    """Sockets and pipes of many workloads need descriptors."""
    if facts.open_files_limit < FEW_FILES:
        return CheckResult(
            "open files",
            "warning",
            f"at most {facts.open_files_limit}",
            "raise the limit: ulimit -n 4096, or LimitNOFILE=",
        )
    return CheckResult("open files", "ok", f"at most {facts.open_files_limit}")


def public_port(facts: Facts) -> CheckResult:
    """The read-only port for monitoring scripts."""
    if facts.wanted_port == 0:
        return CheckResult("read-only port", "skipped", "switched off (api.port: 0)")
    if facts.public_port is None:
        return CheckResult(
            "read-only port",
            "warning",
            f"port {facts.wanted_port} is taken; only the sockets are served",
            "set api.port in node.yaml to a free port, or 0",
        )
    return CheckResult("read-only port", "ok", f"127.0.0.1:{facts.public_port}")


def isolation(facts: Facts) -> CheckResult:
    """What native workloads can be kept apart with."""
    name = "isolation"
    if facts.isolation is None:
        return CheckResult(name, "skipped", "not looked at")
    if facts.no_strict:
        detail = f"{facts.isolation}; «isolation: strict» cannot be had: {facts.no_strict}"
        fix = "see docs/reference/isolation.md; workloads with standard isolation run all the same"
        return CheckResult(name, "skipped", detail, fix)
    return CheckResult(name, "ok", f"{facts.isolation}; «isolation: strict» can be had")


def engine(facts: Facts) -> CheckResult:
    """Who runs containers. A node without any needs nobody."""
    name = "container engine"
    if not facts.no_engine:
        return CheckResult(
            name, *("ok", facts.engine) if facts.engine else ("skipped", "not looked at")
        )
    fix = "install docker.io or podman and start it (restart one that does not answer), or set containers.socket"
    if facts.containers:
        detail = f"none answers: {facts.no_engine}; workloads that need it: {facts.containers}"
        return CheckResult(name, "warning", detail, fix)
    detail = f"none, and no workload here is a container: {facts.no_engine}"
    return CheckResult(name, "skipped", detail, f"nothing; for containers: {fix}")


def encryption(facts: Facts) -> CheckResult:
    """What a stolen disk gives away."""
    name, keys = "encryption", facts.keys
    if not keys.enabled:
        return CheckResult(name, "skipped", str(keys), "set encryption.storage.enabled")
    if keys.beside:
        fix = "who copies the disk has both: set encryption.storage.key to tpm, credential:NAME or passphrase:/PATH"
        return CheckResult(name, "warning", str(keys), fix)
    return CheckResult(name, "ok", str(keys))


def backups(facts: Facts) -> CheckResult:
    """What a damaged database or a lost device would be rebuilt from."""
    name, found = "backups", facts.backups
    if found is None:
        return CheckResult(name, "skipped", "not looked at")
    if found.last_at is None:
        detail = f"none yet in {found.directory}"
    else:
        age = format_duration(max(facts.now - found.last_at, 0) / NS)
        size = format_size(found.last_size)
        detail = f"{found.kept} in {found.directory}, the newest {age} old, {size}"
    if found.problem:
        fix = "skerry node backup says more; the ones that are there stay"
        return CheckResult(name, "warning", f"{detail}; {found.problem}", fix)
    if found.last_at is not None and 0 < LATE * found.interval < (facts.now - found.last_at) / NS:
        detail += f"; one is due every {format_duration(found.interval)}"
        fix = "the node makes one a minute after its start; skerry node backup makes one now, or says why not"
        return CheckResult(name, "warning", detail, fix)
    if found.lost_with_node:
        detail += "; their key lies in the data directory and is lost with it"
        fix = "set storage.backup_passphrase, or keep a copy of storage.key elsewhere"
        return CheckResult(name, "warning", detail, fix)
    return CheckResult(name, "ok" if found.last_at is not None else "skipped", detail)


def rebuilt(facts: Facts) -> CheckResult:
    """Whether the database is the one that it always was."""
    found = facts.backups
    if found is None or not found.rebuilt:
        return CheckResult("database", "ok", "never had to be rebuilt")
    age = (facts.now - found.rebuilt_at) / NS
    detail = f"{format_duration(max(age, 0))} ago {found.rebuilt}"
    if age > SHOWN_FOR:
        return CheckResult("database", "ok", detail)
    fix = "check the disk (smartctl); the hub sends again what is missing"
    return CheckResult("database", "warning", detail, fix)


CHECKS: tuple[Check, ...] = (
    data_directory,
    disk_space,
    memory,
    storage,
    store,
    rebuilt,
    backups,
    damaged,
    keeper,
    workloads,
    enrolment,
    double,
    link,
    network,
    backlog,
    clock,
    open_files,
    public_port,
    isolation,
    engine,
    encryption,
)


PRESSING = frozenset({"memory", "storage", "container engine", "database"})
"""Checks whose warnings are problems of the node already: something is, or is about to be, ended or refused."""


def examine(facts: Facts) -> list[CheckResult]:
    """All results, in the order of CHECKS."""
    return [check(facts) for check in CHECKS]


def problems(facts: Facts) -> list[str]:
    """What the node's status names, one line each."""
    return [
        f"{result.name}: {result.detail}"
        for result in examine(facts)
        if result.outcome == "failed" or (result.outcome == "warning" and result.name in PRESSING)
    ]
