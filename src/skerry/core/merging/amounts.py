"""Numbers that both sides changed: the higher, the lower, or both changes added to what was there before."""

from __future__ import annotations

import math
from typing import Literal, TypeGuard

from skerry.core.merging.bodies import MAX_DIGITS

Number = int | float

_TOO_LARGE = 10**MAX_DIGITS


def is_number(value: object) -> TypeGuard[Number]:
    """Whether `value` is a JSON number; true and false are none."""
    return type(value) is int or type(value) is float


def extreme(rule: Literal["max", "min"], older: Number, newer: Number) -> Number:
    """The higher or lower one; of equal ones (1 and 1.0) the newer."""
    beaten = older > newer if rule == "max" else older < newer
    return older if beaten else newer


def total(base: Number, one: Number, other: Number) -> Number | None:
    """`base` with what each side added to it; None when no number can hold that.

    Whole numbers are exact. With a fraction among them the sum is rounded once, so the sides may be swapped.
    """
    if type(base) is int and type(one) is int and type(other) is int:
        whole = one + other - base
        return whole if abs(whole) < _TOO_LARGE else None
    try:
        return math.fsum((one, other, -base))
    except OverflowError:
        return None
