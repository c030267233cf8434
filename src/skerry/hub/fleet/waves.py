"""Decides how a change goes through the nodes of a workload: who may get it now, when it is paused, when it is over.

Pure, without database and clock; `fleet.rollouts` reads what is and writes what comes out. A node stands in one of
these stages:

    waiting   has not got the change, and would take it        away      the same, but it is offline: it is skipped
    settling  has got it and has not proven it yet              healthy   has proven it: as wanted for `min_healthy`
    failed    tripped, failed, or not as wanted within `healthy_within`

Settling and failed nodes take up `max_unavailable`, so a bad change stops there even when nothing pauses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from skerry.kit.clock import NS
from skerry.kit.units import format_duration
from skerry.wire.people import UpdateView
from skerry.wire.workload import Generation, Phase, Update, WorkloadSpec, WorkloadStatus

Stage = Literal["waiting", "away", "settling", "healthy", "failed"]

_TOLD = 3
"""So many failed nodes are named."""

_FAILED: set[Phase] = {"tripped", "failed"}


@dataclass(frozen=True)
class Member:
    """One node of the workload. Times are the hub's, in ns since 1970."""

    node: str
    name: str
    changed: bool
    """Whether its assignment is the new one."""
    generation: Generation
    """Of its assignment."""
    given_at: int
    """When the assignment was written."""
    online: bool
    status: WorkloadStatus | None
    heard_at: int
    """When the status was received."""

    @property
    def works(self) -> bool:
        """Whether it is now as its assignment wants it, as far as the hub knows."""
        status = self.status
        if status is None or not self.online or status.generation < self.generation:
            return False
        return status.phase == "succeeded" or (status.phase == "running" and status.ready)

    @property
    def trouble(self) -> str:
        """What is wrong, for people; empty while it may only need time."""
        status = self.status
        if status is None:
            return ""
        tried = status.failed_generation
        if tried is not None and tried >= self.generation:
            return status.message
        if status.generation < self.generation or status.phase not in _FAILED:
            return ""
        return f"{status.phase}: {status.message}" if status.message else status.phase


class Rollout(msgspec.Struct, frozen=True):
    """A change under way, as the database keeps it. `before` is what the workload was when everything was at rest.

    `proven` nodes have been healthy with the change; for `excused` ones, which had failed, a person said to go on.
    """

    before: WorkloadSpec
    restarts: int
    proven: list[str] = []
    excused: list[str] = []
    paused: str = ""


@dataclass(frozen=True)
class Wave:
    """What to do now: give the change to the nodes in `change`, keep `rollout`; `finished`: nothing is left to do."""

    change: tuple[str, ...]
    rollout: Rollout
    finished: bool


def decide(rollout: Rollout, update: Update, members: Sequence[Member], now: int) -> Wave:
    """The next wave. `now` is in ns since 1970."""
    stages = stages_of(rollout, update, members, now)
    failed = _unexcused(rollout, members, stages)
    paused = rollout.paused
    if failed and update.pause_on_failure and not paused:
        paused = _failure(failed, update, len(members))
    after = msgspec.structs.replace(
        rollout,
        proven=sorted(each.node for each in members if _is_proven(each, rollout, stages)),
        paused=paused,
    )
    if paused:
        return Wave((), after, finished=False)
    finished = not {"waiting", "away", "settling"} & set(stages.values())
    busy = len(failed) + sum(stage == "settling" for stage in stages.values())
    free = max(at_once(update, len(members)) - busy, 0)
    turn = sorted(
        (each for each in members if stages[each.node] == "waiting"),
        key=lambda each: (each.works, each.name),  # what does not work anyway costs nothing
    )
    return Wave(tuple(each.node for each in turn[:free]), after, finished)


def resumed(rollout: Rollout, update: Update, members: Sequence[Member], now: int) -> Rollout:
    """A person says to go on: nodes that have failed so far no longer count."""
    stages = stages_of(rollout, update, members, now)
    failed = {node for node, stage in stages.items() if stage == "failed"}
    return msgspec.structs.replace(rollout, excused=sorted({*rollout.excused, *failed}), paused="")


def at_once(update: Update, total: int) -> int:
    """How many of `total` nodes may be unavailable: at least one. A share is rounded down."""
    limit = update.max_unavailable
    if limit is None:
        return total
    if isinstance(limit, str):
        limit = total * int(limit.removesuffix("%")) // 100
    return max(limit, 1)


def stages_of(
    rollout: Rollout, update: Update, members: Sequence[Member], now: int
) -> Mapping[str, Stage]:
    """Where each node stands, by its id."""
    proven = frozenset(rollout.proven)
    return {each.node: _stage(each, update, now, proven=each.node in proven) for each in members}


def view(rollout: Rollout, update: Update, members: Sequence[Member], now: int) -> UpdateView:
    """A change under way, for people."""
    stages = stages_of(rollout, update, members, now)
    count = list(stages.values()).count
    changed = sum(each.changed for each in members)
    words = [f"{changed} of {len(members)} nodes have the change"]
    words += [f"{count('settling')} have yet to prove it"] if count("settling") else []
    words += [f"{count('failed')} failed"] if count("failed") and not rollout.paused else []
    words += [f"{count('away')} get it when they are back"] if count("away") else []
    message = ", ".join(words)
    return UpdateView(
        state="paused" if rollout.paused else "rolling",
        total=len(members),
        changed=changed,
        healthy=count("healthy"),
        failed=count("failed"),
        offline=count("away"),
        message=f"paused: {rollout.paused}; {message}" if rollout.paused else message,
    )


def _stage(member: Member, update: Update, now: int, *, proven: bool) -> Stage:
    if not member.changed:
        return "waiting" if member.online else "away"
    settled = member.works and now - member.heard_at >= update.min_healthy * NS
    if settled or (proven and (member.works or not member.online)):
        return "healthy"
    if member.online and member.trouble:
        return "failed"
    begin = max(member.heard_at, member.given_at) if proven else member.given_at
    begin = max(begin, _locked_until(member, update))
    return "failed" if now - begin >= update.healthy_within * NS else "settling"


def _locked_until(member: Member, update: Update) -> int:
    """A node's clock may be wrong, but no lock outlives `lock_at_most`."""
    said = member.status.locked_until if member.status is not None else None
    return min(said or 0, member.given_at + int(update.lock_at_most * NS))


def _is_proven(member: Member, rollout: Rollout, stages: Mapping[str, Stage]) -> bool:
    return stages[member.node] == "healthy" or (member.changed and member.node in rollout.proven)


def _unexcused(
    rollout: Rollout, members: Sequence[Member], stages: Mapping[str, Stage]
) -> list[Member]:
    return [
        each
        for each in members
        if stages[each.node] == "failed" and each.node not in rollout.excused
    ]


def _failure(failed: Sequence[Member], update: Update, total: int) -> str:
    """«2 of 40 nodes failed: node-7 tripped: ended: code 1; node-9 not ready within 10m»."""
    told = [f"{each.name} {_cause(each, update)}" for each in failed[:_TOLD]]
    told += [f"and {len(failed) - _TOLD} more"] if len(failed) > _TOLD else []
    verb = "node failed" if total == 1 else "nodes failed"
    return f"{len(failed)} of {total} {verb}: {'; '.join(told)}"


def _cause(member: Member, update: Update) -> str:
    if member.online and member.trouble:
        return member.trouble
    within = format_duration(update.healthy_within)
    if not member.online:
        return f"offline, and not known to be healthy within {within}"
    said = f": {member.status.message}" if member.status and member.status.message else ""
    return f"not healthy within {within}{said}"
