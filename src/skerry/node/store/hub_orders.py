"""What a changed assignment has the device do, as the audit log says it. Pure."""

from __future__ import annotations

from skerry.core.audit_entries import Deed
from skerry.kit.errors import InvalidInput
from skerry.wire.codec import decode
from skerry.wire.workload import Assignment

ASSIGNMENT = "assignment"


def order_of(workload: str, held: bytes | None, told: bytes | None) -> Deed | None:
    """The deed of the hub's that turns the assignment that is held into the one that it tells; None: nothing changes.

    None as a body is none. What cannot be read is a change, too: whoever acts on it says what is wrong with it.
    """
    if told == held:
        return None
    if told is None:
        return Deed("hub", "", "unassign_workload", workload)
    before, after = _read(workload, held), _read(workload, told)
    if after is None:
        return Deed("hub", "", "change_workload", workload, detail="unreadable")
    action = "assign_workload" if held is None else "change_workload"
    if before is not None:
        if after.restarts > before.restarts:
            action = "restart_workload"
        elif _wanted(before) == _wanted(after):
            return None
    generation = f"generation {after.generation.epoch}.{after.generation.n}"
    return Deed("hub", "", action, workload, detail=generation)


def _wanted(assignment: Assignment) -> object:
    return assignment.generation, assignment.spec, assignment.models


def _read(workload: str, body: bytes | None) -> Assignment | None:
    if body is None:
        return None
    try:
        return decode(body, Assignment, f"assignment of workload «{workload}»")
    except InvalidInput:
        return None
