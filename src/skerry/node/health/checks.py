"""The checks of `skerry doctor`: pure functions over `facts`; those of the disk and what is on it are in `stores`.

A check is one function and one line in CHECKS; the order there is the order in which people read them.
Every finding says what to do about it.
"""

from __future__ import annotations

from skerry.kit.units import format_duration
from skerry.node.health import stores
from skerry.node.health.facts import Check, Facts
from skerry.wire.local import CheckResult, LinkStatus

SKEW_SECONDS = 60.0
FEW_FILES = 1024
OLD_BACKLOG_SECONDS = 3600.0


def memory(facts: Facts) -> CheckResult:
    """The node's limit of memory."""
    usage = facts.memory
    if usage is None:
        return CheckResult("memory", "skipped", "not limited (runtime.max_memory_usage)")
    if usage.used * 100 >= usage.limit * 90:
        fix = "over the limit, the workload most over its reservation is ended: give each its resources.memory"
        return CheckResult("memory", "warning", str(usage), fix)
    return CheckResult("memory", "ok", str(usage))


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
    if not facts.secret_mode:
        return CheckResult(
            "enrolment",
            "failed",
            "node.secret is not there: no backup has it that is not sealed",
            "enrol it again: at the hub skerry revoke node NAME and skerry token create; here skerry node stop, skerry node "
            f"enroll --again --data-dir {facts.data_dir} --hub URL --token-file FILE, skerry node run",
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
            f"the hub at {status.hub} does not know this node any more, or not what it shows",
            f"enrol it again with a new token (skerry token create): skerry node stop, skerry node enroll --again "
            f"--data-dir {facts.data_dir} --hub {status.hub} --token-file FILE, skerry node run",
        )
    return CheckResult("enrolment", "ok", "enrolled, the secret is readable by the node only")


def certificate(facts: Facts) -> CheckResult:
    """What the node proves itself by."""
    if facts.certificate is None:
        detail = "the hub knows this node by its secret, or it has none"
        return CheckResult("certificate", "skipped", detail)
    from skerry.node.health.trust_check import certificate_check  # noqa: PLC0415 - not every node has one

    return certificate_check(facts.certificate, facts.data_dir)


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


def broker(facts: Facts) -> CheckResult:
    """What drivers of twins speak to."""
    name = "mqtt broker"
    if facts.no_broker is None:
        return CheckResult(name, "skipped", "this node serves no twins (cyberwave.enabled)")
    if facts.no_broker:
        detail, _, fix = facts.no_broker.partition(". ")
        return CheckResult(name, "failed", detail, fix)
    return CheckResult(name, "ok", "its program is here")


CHECKS: tuple[Check, ...] = (
    stores.data_directory,
    stores.disk_space,
    memory,
    stores.storage,
    stores.store,
    stores.rebuilt,
    stores.backups,
    stores.damaged,
    keeper,
    workloads,
    enrolment,
    certificate,
    double,
    link,
    network,
    backlog,
    clock,
    open_files,
    public_port,
    isolation,
    engine,
    broker,
    stores.encryption,
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
