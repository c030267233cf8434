"""The checks of what is on the disk: room, the database, its backups, and who else could read it. Pure."""

from __future__ import annotations

from skerry.kit.clock import NS
from skerry.kit.units import format_duration, format_size
from skerry.node.health.facts import Facts
from skerry.wire.local import CheckResult

LOW_SPACE = 500_000_000
CRITICAL_SPACE = 50_000_000
SOON_FULL = 7 * 86_400
SHOWN_FOR = 7 * 86_400.0
"""Seconds for which a database that was rebuilt is a warning."""

LATE = 2
"""So many intervals old, the newest backup is too old, whoever should have made another one."""


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


def encryption(facts: Facts) -> CheckResult:
    """What a stolen disk gives away."""
    name, keys = "encryption", facts.keys
    if not keys.enabled:
        return CheckResult(name, "skipped", str(keys), "set encryption.storage.enabled")
    if keys.beside:
        fix = "who copies the disk has both: set encryption.storage.key to tpm, credential:NAME or passphrase:/PATH"
        return CheckResult(name, "warning", str(keys), fix)
    return CheckResult(name, "ok", str(keys))
