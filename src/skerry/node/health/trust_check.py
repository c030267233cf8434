"""The check of `skerry doctor` of the node's certificate. `checks` has the others."""

from __future__ import annotations

from skerry.kit.clock import NS, iso
from skerry.kit.units import format_duration
from skerry.node.proof import CertificateStatus
from skerry.wire.local import CheckResult

_NAME = "certificate"
_ENROL = (
    "enrol it again with a new token (skerry token create): skerry node stop, skerry node enroll --again "
    "--data-dir {data_dir} --hub URL --token-file FILE, skerry node run"
)


def certificate_check(found: CertificateStatus, data_dir: str) -> CheckResult:
    """Whether the hub will know this node tomorrow, too."""
    again = _ENROL.format(data_dir=data_dir)
    if not found.ends:
        return CheckResult(
            _NAME, "failed", "this node has none, so the hub does not know it", again
        )
    until = f"{iso(found.ends)[:19]}Z"
    if found.is_over:
        return CheckResult(_NAME, "failed", f"ended at {until}, too long ago to be renewed", again)
    left = found.ends - found.now
    if left < 0:
        detail = f"ended at {until}; it is renewed as soon as the hub answers"
        return CheckResult(_NAME, "warning", _with(found.problem, detail), "see link and enrolment")
    if left * 3 < found.ends - found.begins and found.problem:
        detail = f"ends in {format_duration(left / NS)}, and renewing it fails"
        fix = "see link and enrolment; workloads and records go on meanwhile"
        return CheckResult(_NAME, "warning", _with(found.problem, detail), fix)
    return CheckResult(
        _NAME, "ok", f"until {until}, renewed by itself; fleet's roots number {found.roots}"
    )


def _with(problem: str, detail: str) -> str:
    return f"{detail} ({problem})" if problem else detail
