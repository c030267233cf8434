"""Shared rows: their bodies, patches between versions, and who wins (ADR 18, docs/reference/sync.md). Pure, without a clock.

`bodies` says what a body is, `patches` carries a change of a large one, `judging` decides about an edit; it asks `fields`
(with `lists`, `texts`, `rules`) where both sides' changes belong together. Hub and node use the same functions.
"""

from skerry.core.merging.bodies import canonical, mark, marks
from skerry.core.merging.judging import NOTHING, Verdict, Version, judge, rebase
from skerry.core.merging.patches import apply, diff

__all__ = [
    "NOTHING",
    "Verdict",
    "Version",
    "apply",
    "canonical",
    "diff",
    "judge",
    "mark",
    "marks",
    "rebase",
]
