"""Whether there is memory for a workload before it is started. Pure; `ledger` keeps the books, docs/reference/limits.md explains.

Every workload that runs, or is between two tries, holds a reservation; together with the node's own share they
stay within the node's limit. Who finds no room waits, in the order of coming, and keeps room: a later one may pass
only where it would still have room beside it and the others that came later. It does so in turns, each pair twice as
long as the one before: then those that fit may pass. So nobody is held up for ever by one that does not fit, and one
that is big gets its room as soon as a turn is longer than what runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from skerry.kit.clock import NS
from skerry.kit.units import format_size
from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads.steps import Beside, StartWorkload, Step, StopWorkload
from skerry.wire.workload import Assignment, WorkloadSpec

NODE_SHARE = 50_000_000
"""Bytes set aside for the agent and its keeper: what they take with fifty workloads (docs/reference/performance.md)."""

UNSTATED = 64_000_000
"""Bytes that a workload without `resources.memory` counts with."""


TURN = 600 * NS
"""So long a waiter keeps room for itself at first."""


class Claim(msgspec.Struct, frozen=True):
    """Memory that a workload holds or waits for, in bytes; of two, the one with the lower ticket came first."""

    name: str
    size: int
    ticket: int
    since: int = 0
    """Monotonic ns at which it came."""


def reservation(spec: WorkloadSpec) -> int:
    """What a workload is counted with, in bytes."""
    return UNSTATED if spec.resources.memory is None else spec.resources.memory


def held_by(actual: ActualWorkload) -> int:
    """What a workload is counted with now, in bytes: both of its instances while there are two."""
    beside = actual.beside
    other = 0
    if beside is not None and beside.instance is not None:
        other = reservation(beside.assignment.spec)
    return reservation(actual.assignment.spec) + other


def demand(step: Step, held: ActualWorkload, wish: Assignment | None) -> int | None:
    """What must be free for this step; None: nothing is asked for."""
    match step:
        case StartWorkload() if held.instance is None:
            return reservation(held.assignment.spec)
        case StopWorkload(reason="changed" | "restart") if wish is not None:
            return reservation(wish.spec)
        case Beside(step=StartWorkload()) if wish is not None:
            return reservation(held.assignment.spec) + reservation(wish.spec)
        case _:
            return None


def can_ever_fit(limit: int, size: int) -> bool:
    """Whether `size` bytes would be there if nothing else ran."""
    return size <= limit - NODE_SHARE


def keeps_room(claim: Claim, now: int) -> bool:
    """Whether it is a waiter's turn to keep room: for TURN, then not for TURN, then for twice as long, and so on."""
    waited = now - claim.since
    longer = 1 << (waited // (2 * TURN) + 1).bit_length() - 1
    return waited - 2 * TURN * (longer - 1) < TURN * longer


def refusal(
    limit: int, held: Iterable[Claim], waiting: Iterable[Claim], wish: Claim, now: int = 0
) -> str:
    """Why `wish` gets no room `now` (monotonic ns), for people; empty when it gets it.

    What it holds already counts as free.
    """
    room = limit - NODE_SHARE
    if not can_ever_fit(limit, wish.size):
        return (
            f"cannot start: needs {format_size(wish.size)}, of the {format_size(limit)} of this node "
            f"(runtime.max_memory_usage) {format_size(max(room, 0))} are for workloads"
        )
    claims = list(held)
    others = [claim for claim in claims if claim.name != wish.name]
    if wish.size <= sum(claim.size for claim in claims if claim.name == wish.name):
        return ""
    free = room - sum(claim.size for claim in others)
    if wish.size > free:
        return (
            f"waits for memory: needs {format_size(wish.size)}, {format_size(max(free, 0))} of "
            f"{format_size(limit)} are free ({_holders(others)})"
        )
    for first in sorted(waiting, key=lambda claim: claim.ticket):
        comes_first = first.ticket < wish.ticket and first.name != wish.name
        if comes_first and keeps_room(first, now):
            later = sum(claim.size for claim in _after(first, others))
            if first.size + later + wish.size > room:
                return (
                    f"waits for memory: needs {format_size(wish.size)}; «{first.name}» came first, "
                    f"waits for {format_size(first.size)}, and there is no room for both"
                )
    return ""


def _after(first: Claim, held: Sequence[Claim]) -> Iterable[Claim]:
    return (claim for claim in held if claim.ticket > first.ticket and claim.name != first.name)


def _holders(claims: Sequence[Claim]) -> str:
    largest = sorted(claims, key=lambda claim: (-claim.size, claim.name))
    named = [f"{claim.name} {format_size(claim.size)}" for claim in largest[:5]]
    if len(largest) > 5:
        named.append(f"{len(largest) - 5} more")
    return ", ".join([*named, f"the node itself {format_size(NODE_SHARE)}"])
