"""The check of `skerry doctor` of what limits the link. `checks` has the others."""

from __future__ import annotations

from skerry.kit.units import format_size
from skerry.wire.local import CheckResult, NetworkStatus

NEARLY = 80
"""Percent of a month's bytes."""


def network_check(found: NetworkStatus) -> CheckResult:
    """Whether the link may carry everything, and how much of the month's bytes are used."""
    name = "network"
    detail = "; ".join(network_words(found)) or "everything goes"
    if found.cap and found.used * 100 >= NEARLY * found.cap:
        fix = "raise sync.network.monthly_cap, send less (docs/operate/links.md), or wait for the next month"
        return CheckResult(name, "warning", detail, fix)
    if found.only_high:
        return CheckResult(name, "warning", detail, "what waits goes when that has ended")
    return CheckResult(name, "ok", detail)


def network_words(found: NetworkStatus) -> list[str]:
    """For people: «at most 1 MB a second», «82 % of the 5 GB of 2026-11 are used»."""
    words = []
    if found.only_high:
        words.append(f"only high priority goes: {found.only_high}")
    if found.max_bandwidth is not None:
        words.append(f"at most {format_size(found.max_bandwidth)} a second")
    if found.cap is not None:
        percent = found.used * 100 // found.cap
        words.append(f"{percent} % of the {format_size(found.cap)} of {found.month} are used")
    return words
