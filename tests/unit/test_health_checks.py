"""Each doctor check finds its own trouble, and only that one."""

import pytest
from msgspec import structs
from msgspec.structs import replace

from skerry.node.broker.program import missing
from skerry.node.health.checks import CHECKS, examine, problems
from skerry.node.health.facts import Facts
from skerry.node.proof import CertificateStatus
from skerry.wire.local import (
    BackupStatus,
    Growth,
    KeyStatus,
    KeyView,
    LaneStatus,
    LinkStatus,
    MemoryUsage,
    NetworkStatus,
    StorageUsage,
    SyncStatus,
)
from skerry.wire.workload import Generation, WorkloadStatus

LINK = LinkStatus("online", since=0, hub="http://127.0.0.1:8600")
SYNC = SyncStatus("success", LINK, [LaneStatus("keep", 10, 10, 0)], "inc")
KEY = KeyView("01020304", "store", "AES-256-GCM", 0, 0, retired=False)
DAY = 86_400 * 10**9
BACKUPS = BackupStatus("/data/backups", 7, DAY // 2, 2_000_000)
CERTIFICATE = CertificateStatus(DAY, 4 * DAY, 2 * DAY, roots=1)
GOOD = Facts(
    data_dir="/data",
    data_dir_mode=0o700,
    free_bytes=10**10,
    store_problem="",
    damaged_files=(),
    keeper_pid=7,
    workloads=(WorkloadStatus("cam", Generation(1, 1), "running", 0),),
    sync=SYNC,
    offline_seconds=0,
    clock_skew=0.2,
    open_files_limit=4096,
    secret_mode=0o600,
    public_port=8000,
    wanted_port=8000,
    isolation="cgroup v2 (cpu, memory, pids), landlock 7, seccomp, namespaces, root",
    engine="Docker 20.10.24 (API 1.41) at /var/run/docker.sock",
    memory=MemoryUsage(512_000_000, 100_000_000, 64_000_000, 40_000_000, {"cam": 60_000_000}),
    storage=StorageUsage(2_000_000_000, 100_000_000, 10**10, {"logs": 100_000_000}, {}),
    keys=KeyStatus(enabled=True, source="TPM 2.0 of this device", keys=[KEY]),
    backups=BACKUPS,
    certificate=CERTIFICATE,
    no_broker="",
    now=DAY,
)


def limited(only_high: str = "", used: int = 0, cap: int | None = None, month: str = "") -> Facts:
    found = NetworkStatus(only_high=only_high, used=used, cap=cap, month=month)
    return replace(GOOD, sync=replace(SYNC, network=found))


def test_a_limited_link_that_carries_everything_is_well() -> None:
    [found] = [
        one
        for one in examine(limited(used=700, cap=1000, month="2026-11"))
        if one.name == "network"
    ]
    assert (found.outcome, found.detail) == ("ok", "70 % of the 1 KB of 2026-11 are used")


def test_a_certificate_that_will_be_renewed_is_well() -> None:
    for sound in (
        replace(CERTIFICATE, now=3 * DAY + 1),
        replace(CERTIFICATE, now=3 * DAY - 1, problem="no route"),
    ):
        assert problems(replace(GOOD, certificate=sound)) == []
        assert {result.outcome for result in examine(replace(GOOD, certificate=sound))} == {"ok"}


def test_a_healthy_node_has_no_findings() -> None:
    assert {result.outcome for result in examine(GOOD)} == {"ok"}
    assert len(CHECKS) >= 10


def test_what_presses_is_a_problem_of_the_node_and_other_warnings_are_not() -> None:
    short = MemoryUsage(100, 90, 60, 40, {"cam": 50})
    assert problems(replace(GOOD, free_bytes=10**8)) == []
    assert problems(replace(GOOD, memory=short)) == [f"memory: {short}"]
    hangs = "cannot reach the container engine at /d.sock: it hangs"
    (named,) = problems(replace(GOOD, engine="", no_engine=hangs, containers=1))
    assert named == f"container engine: none answers: {hangs}; workloads that need it: 1"


@pytest.mark.parametrize(
    ("facts", "name", "outcome", "words"),
    [
        (replace(GOOD, data_dir_mode=0o755), "data directory", "warning", "chmod 700"),
        (replace(GOOD, free_bytes=10**8), "disk space", "warning", "100 MB free"),
        (replace(GOOD, free_bytes=10**6), "disk space", "failed", "1 MB free"),
        (replace(GOOD, no_broker=None), "mqtt broker", "skipped", "serves no twins"),
        (replace(GOOD, no_broker=missing(None)), "mqtt broker", "failed", "apt install mosquitto"),
        (replace(GOOD, storage=None), "storage", "skipped", "not measured yet"),
        (limited(cap=1000, used=820, month="2026-11"), "network", "warning", "82 % of the 1 KB of 2026-11 are used"),
        (limited(only_high="so it is"), "network", "warning", "only high priority goes: so it is"),
        (
            replace(GOOD, storage=StorageUsage(None, 900, 10**10, {"logs": 900}, {}, Growth(3600, 5 * 10**9, 2 * 86_400, "logs"))),
            "storage", "warning",
            "grows by 5 GB a day, mostly logs; full in 2d; now 900 B: logs 900 B; 10 GB free on the disk",
        ),
        (
            replace(GOOD, storage=StorageUsage(1000, 900, 10**10, {"logs": 900}, {})),
            "storage", "warning", "900 B, 90 % of 1 KB: logs 900 B; 10 GB free on the disk",
        ),
        (replace(GOOD, memory=None), "memory", "skipped", "runtime.max_memory_usage"),
        (
            replace(GOOD, memory=MemoryUsage(100, 90, 60, 40, {"cam": 50})),
            "memory", "warning", "90 % of 100 B: cam 50 B, the node itself 40 B",
        ),
        (replace(GOOD, store_problem="page 3 is damaged"), "store", "failed", "page 3"),
        (replace(GOOD, damaged_files=("x.seg.damaged",)), "damaged files", "warning", "x.seg"),
        (replace(GOOD, keeper_pid=None), "keeper", "failed", "keeper.log"),
        (
            replace(GOOD, workloads=(WorkloadStatus("cam", Generation(1, 1), "tripped", 0, message="code 1"),)),
            "workloads", "warning", "skerry logs cam",
        ),
        (replace(GOOD, certificate=None), "certificate", "skipped", "by its secret"),
        (replace(GOOD, certificate=replace(CERTIFICATE, begins=0, ends=0)), "certificate", "failed", "this node has none"),
        (
            replace(GOOD, certificate=replace(CERTIFICATE, now=3 * DAY + 1, problem="no route")),
            "certificate", "warning", "and renewing it fails (no route)",
        ),
        (replace(GOOD, certificate=replace(CERTIFICATE, now=5 * DAY)), "certificate", "warning", "ended at 1970-01-05"),
        (
            replace(GOOD, certificate=replace(CERTIFICATE, now=95 * DAY, is_over=True)),
            "certificate", "failed", "too long ago",
        ),
        (replace(GOOD, sync=structs.replace(SYNC, double="edge-2 (10.0.0.7)")), "identity", "failed", "connected from edge-2 (10.0.0.7)"),
        (replace(GOOD, secret_mode=None), "enrolment", "warning", "node enroll"),
        (
            replace(GOOD, sync=SyncStatus("failing", LinkStatus("online", 0, "http://h", "401", unknown=True), [], "i")),
            "enrolment", "failed", "enroll --again --data-dir /data --hub http://h",
        ),
        (replace(GOOD, secret_mode=0o644), "enrolment", "failed", "chmod 600"),
        (replace(GOOD, secret_mode=0), "enrolment", "failed", "skerry revoke node NAME"),
        (
            replace(GOOD, offline_seconds=90, sync=SyncStatus("failing", LinkStatus("offline", 0, "http://h", "refused"), [], "i")),
            "link", "warning", "offline for 1m 30s: refused",
        ),
        (replace(GOOD, sync=SyncStatus("failing", LINK, [LaneStatus("keep", 9, 1, 8)], "i", failures=4)), "backlog", "warning", "8 waiting"),
        (replace(GOOD, clock_skew=-120.0), "clock", "warning", "2m behind the hub"),
        (replace(GOOD, clock_skew=None), "clock", "skipped", "not known"),
        (replace(GOOD, open_files_limit=256), "open files", "warning", "ulimit"),
        (replace(GOOD, backups=None), "backups", "skipped", "not looked at"),
        (replace(GOOD, backups=BackupStatus("/b")), "backups", "skipped", "none yet in /b"),
        (
            replace(GOOD, backups=replace(BACKUPS, problem="no room for 3 MB")),
            "backups", "warning", "7 in /data/backups, the newest 12h old, 2 MB; no room for 3 MB",
        ),
        (
            replace(GOOD, now=3 * DAY, backups=replace(BACKUPS, interval=86_400.0)),
            "backups", "warning", "the newest 2d 12h old, 2 MB; one is due every 1d",
        ),
        (
            replace(GOOD, backups=replace(BACKUPS, lost_with_node=True)),
            "backups", "warning", "is lost with it",
        ),
        (
            replace(GOOD, backups=replace(BACKUPS, rebuilt="the database was rebuilt", rebuilt_at=0)),
            "database", "warning", "1d ago the database was rebuilt",
        ),
        (replace(GOOD, public_port=None), "read-only port", "warning", "port 8000 is taken"),
        (replace(GOOD, no_strict="it needs root"), "isolation", "skipped", "cannot be had: it needs root"),
        (
            replace(GOOD, engine="", no_engine="nothing is at /d.sock"),
            "container engine", "skipped", "no workload here is a container: nothing is at /d.sock",
        ),
        (
            replace(GOOD, engine="", no_engine="nothing is at /d.sock", containers=2),
            "container engine", "warning", "none answers: nothing is at /d.sock; workloads that need it: 2install docker.io or podman",
        ),
        (replace(GOOD, engine=""), "container engine", "skipped", "not looked at"),
        (replace(GOOD, keys=KeyStatus(enabled=False)), "encryption", "skipped", "off: whoever has the disk can read it"),
        (
            replace(GOOD, keys=KeyStatus(enabled=True, source="software key beside the data (/data/storage.key)", beside=True, keys=[KEY])),
            "encryption", "warning", "software key beside the data",
        ),
        (
            replace(GOOD, keys=KeyStatus(enabled=True, source="x", keys=[KEY, structs.replace(KEY, retired=True)], plain=True)),
            "encryption", "ok", "keys are being rotated",
        ),
        (replace(GOOD, public_port=None, wanted_port=0), "read-only port", "skipped", "switched off"),
    ],
)  # fmt: skip
def test_each_check_finds_its_own_trouble(
    facts: Facts, name: str, outcome: str, words: str
) -> None:
    results = {result.name: result for result in examine(facts)}
    assert results[name].outcome == outcome
    assert words in results[name].detail + results[name].fix
    others = {result.outcome for other, result in results.items() if other != name}
    assert others == {"ok"}
