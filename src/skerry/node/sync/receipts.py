"""What a receipt says about one lane. Pure.

As `decide` after a hello, but a receipt may be old, from another stick, or taken twice. So what it lacks means
something only against what its own file began after; what it has is adopted whenever it lies on our history.
"""

from __future__ import annotations

from typing import Literal

from skerry.wire.sync import LanePoint

Verdict = Literal["known", "forward", "back", "other"]


def judge(
    hub: LanePoint, began: LanePoint, own: LanePoint, *, base: int, head: int, chain: str | None
) -> Verdict:
    """`own` is what we took for acknowledged until now; `chain` our own chain at the hub's number, None: not known.

    known    nothing new
    forward  the hub holds more than we knew
    back     the hub lacked what the file took for granted: send again from its point
    other    hub and node disagree about the past
    """
    if hub.n > head or (hub.n >= base and chain != hub.chain):
        return "other"
    if hub.n > own.n:
        return "forward"
    return "back" if hub.n < min(own.n, began.n) else "known"
