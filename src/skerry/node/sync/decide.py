"""Where a lane goes on, once the hub has said how far it knows it. Pure.

Asked after every hello (`link`), after every surprising push reply (`push`), and by the simulator in the tests.
Numbers alone prove nothing, because either store may have been swapped for an older copy or cloned: a point
counts as common history only when the running hash agrees too.

Adopting what the hub holds is always safe; skipping what it lacks never is. So a lane starts at the hub's own
point whenever that lies on our history, and only a changed history starts from what the hub once acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from skerry.wire.sync import Lane, LanePoint


class Held(msgspec.Struct, frozen=True):
    """What this node holds of one lane.

    `base` lies just before the oldest frame that is still here, `head` after the newest. `at_hub` is our own
    point at the hub's number; None when that frame is gone or the number lies inside a frame.
    """

    base: LanePoint
    head: LanePoint
    acknowledged: LanePoint
    at_hub: LanePoint | None


class Continue(msgspec.Struct, frozen=True):
    """The hub knows our history up to `after`: send what follows."""

    after: LanePoint


class HubWentBack(msgspec.Struct, frozen=True):
    """The hub lost what it had acknowledged: send again what follows `after`, as far as it is still here."""

    after: LanePoint


class OtherHistory(msgspec.Struct, frozen=True):
    """Hub and node disagree about the past: go on as a new incarnation, sending what follows `after`."""

    after: LanePoint
    cause: str


Decision = Continue | HubWentBack | OtherHistory


def decide(hub: LanePoint, held: Held) -> Decision:
    """What to do about one lane that the hub holds up to `hub`.

    Where the hub is behind everything that is still here, nothing can be compared: our frames follow as
    skipped, and the hub takes them whatever its past was.
    """
    if hub.n > held.head.n:
        return OtherHistory(
            _acknowledged(hub, held),
            f"the hub holds {hub.n} records, this store only {held.head.n}",
        )
    if hub.n >= held.base.n and held.at_hub != hub:
        return OtherHistory(
            _acknowledged(hub, held), f"the hub's record {hub.n} is not this store's record {hub.n}"
        )
    if hub.n < held.acknowledged.n:
        return HubWentBack(hub)
    return Continue(hub)


def hub_lost(hub: LanePoint, held: Held) -> bool:
    """Whether the hub no longer has what it had acknowledged, whatever else has come to it since."""
    if hub.n == held.acknowledged.n:
        return hub != held.acknowledged
    return hub.n < held.acknowledged.n


def other_history(decisions: Mapping[Lane, Decision]) -> str | None:
    """Why a new incarnation is needed, or None. One lane is enough: all lanes belong to one store."""
    causes = [
        f"lane «{lane}»: {decision.cause}"
        for lane, decision in decisions.items()
        if isinstance(decision, OtherHistory)
    ]
    return "; ".join(causes) or None


def anchor(decision: Decision, held: Held) -> LanePoint:
    """Where a new incarnation's lane begins at the hub: never before the oldest frame that is still here."""
    return decision.after if decision.after.n >= held.base.n else held.base


def _acknowledged(hub: LanePoint, held: Held) -> LanePoint:
    """The last point that the hub surely has. A hub that is behind its own acknowledgement proves nothing."""
    on_both = held.base.n <= held.acknowledged.n <= min(hub.n, held.head.n)
    return held.acknowledged if on_both else held.base
