"""Admission of push units: what a hub does with a unit, given how far it knows the lane.

The decision needs only the lane's last point and the frames' sizes and bytes, so it is pure; hub, tests
and simulator use the same function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from skerry.wire.sync import LanePoint, PushUnit


class Admit(msgspec.Struct, frozen=True):
    """Apply `frames[start:]` and then hold `point`. All frames may be known already (`start` = their number)."""

    start: int
    point: LanePoint


class Gap(msgspec.Struct, frozen=True):
    """The unit does not follow what is held; the node sends again from `point`."""

    point: LanePoint


class Diverged(msgspec.Struct, frozen=True):
    """The unit continues another history than the one that is held."""

    point: LanePoint


Decision = Admit | Gap | Diverged


def extend(chain: str, frame: bytes) -> str:
    """The running hash after `frame`: BLAKE2b of the previous hash and the frame's bytes, as 16 hex digits."""
    return hashlib.blake2b(bytes.fromhex(chain) + frame, digest_size=8).hexdigest()


def admit(held: LanePoint, unit: PushUnit, sizes: Sequence[int]) -> Decision:
    """Decides about `unit` when the lane is held up to `held`.

    `sizes` are the frames' record counts (1 for a state frame). A unit may start at, before or, when
    it says so by `skipped`, after the next expected number. What overlaps must have the held chain.
    """
    if unit.first > held.n + 1 and not unit.skipped:
        return Gap(held)
    if unit.first == held.n + 1 and unit.previous != held.chain:
        return Diverged(held)
    position = LanePoint(unit.first - 1, unit.previous)
    start = 0
    for index, (frame, size) in enumerate(zip(unit.frames, sizes, strict=True)):
        following = LanePoint(position.n + size, extend(position.chain, bytes(frame)))
        if following.n <= held.n:
            start = index + 1
            if following.n == held.n and following.chain != held.chain:
                return Diverged(held)
        elif position.n < held.n:
            return Diverged(
                held
            )  # a frame lies across the held point: it was cut otherwise, or is another's
        position = following
    return Admit(start, position if position.n > held.n else held)
