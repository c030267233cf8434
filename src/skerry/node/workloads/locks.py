"""Update locks: a workload says «not now», and changes, restarts and its removal wait, for a bounded time. Pure.

A lock belongs to one instance and ends with it. It lasts at most `update.lock_at_most` from the moment it was first
taken, however often it is renewed; a spec that is waiting may make that shorter.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.kit.errors import Refused
from skerry.node.store.instances import ActualWorkload, Instance, Lock
from skerry.node.workloads.steps import StopReason
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import WorkloadSpec

LOCKABLE: dict[StopReason, str] = {
    "changed": "update", "restart": "restart", "reload": "reload", "removed": "removal",
}  # fmt: skip
"""What a lock holds up, in the words of the status. An outage and a stop of the node it does not."""


class LockOrder(msgspec.Struct, frozen=True):
    """Take the lock for `seconds`, or give it back (None). `instance` is who asks; empty: whichever lives, or a person."""

    seconds: float | None
    reason: str = ""
    instance: str = ""


def ordered(actual: ActualWorkload | None, order: LockOrder, moment: Moment) -> ActualWorkload:
    """The row after an order. Raises Refused when there is nothing that could be locked."""
    instance = None if actual is None else actual.instance
    if actual is not None and order.instance and actual.beside is not None:
        other = actual.beside.instance
        if other is not None and other.id == order.instance and other.kill_at is None:
            raise Refused("cannot lock updates: this instance does not serve yet")
    if actual is None or instance is None or (order.instance and order.instance != instance.id):
        raise Refused("cannot lock updates: this instance of the workload lives no more")
    if order.seconds is None:
        return replace(actual, instance=replace(instance, lock=None))
    cap = actual.assignment.spec.update.lock_at_most
    if cap == 0:
        raise Refused("cannot lock updates: the spec allows none (update.lock_at_most is 0s)")
    if instance.kill_at is not None:
        raise Refused("cannot lock updates: the workload is being stopped already")
    lock = _lock(instance.lock, order.seconds, order.reason, int(cap * NS), moment)
    return replace(actual, instance=replace(instance, lock=lock))


def in_force(instance: Instance, spec: WorkloadSpec, moment: Moment) -> Lock | None:
    """The lock as it holds up what `spec` brings; None: nothing is held up."""
    lock = instance.lock
    if lock is None:
        return None
    until = min(lock.until, lock.since + int(spec.update.lock_at_most * NS))
    if until <= moment.monotonic:
        return None
    return replace(lock, until=until, until_at=lock.until_at - (lock.until - until))


def shown(lock: Lock) -> str:
    """«locked by the workload until 12:03:20 UTC (landing)»."""
    until = datetime.fromtimestamp(lock.until_at // NS, UTC)
    reason = f" ({lock.reason})" if lock.reason else ""
    return f"locked by the workload until {until:%H:%M:%S} UTC{reason}"


def _lock(before: Lock | None, seconds: float, reason: str, cap: int, moment: Moment) -> Lock:
    """Renewing an unexpired lock does not start its time anew."""
    now = moment.monotonic
    since = before.since if before is not None and before.until > now else now
    until = min(now + int(seconds * NS), since + cap)
    return Lock(since, until, moment.wall + until - now, reason)
