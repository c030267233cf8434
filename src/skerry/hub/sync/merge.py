"""What becomes of the state rows that a node pushes: pure. `push` reads what is held and writes what won."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from skerry.core.entities import incoming_wins
from skerry.kit.hlc import MAX_AHEAD_MS
from skerry.wire.sync import StateFrame, StateRow

Key = tuple[str, str]
"""Entity and id."""

UNNUMBERED = -1
"""The revision of a row that won and has not got its number yet."""


@dataclass(frozen=True)
class Merged:
    """`held` as it is afterwards, and the keys of the rows that changed, in the order of their change."""

    rows: dict[Key, StateRow]
    changed: list[Key]


def keys_of(frames: Iterable[StateFrame]) -> list[Key]:
    """Every row that the frames speak of, once."""
    return list(dict.fromkeys((row.entity, row.id) for frame in frames for row in frame.rows))


def merge(
    held: Mapping[Key, StateRow], frames: Iterable[StateFrame], node_id: str, now: int
) -> Merged:
    """Applies the frames in order. The origin is the node itself, whatever the rows say.

    A clock that is more than a minute ahead of `now` (ns) is clamped to that minute, so that rows from
    before a device's clock was put right do not win for ever.
    """
    ceiling = (now // 1_000_000 + MAX_AHEAD_MS) << 16
    rows = dict(held)
    changed: dict[Key, None] = {}
    for frame in frames:
        for row in frame.rows:
            key = (row.entity, row.id)
            incoming = msgspec.structs.replace(row, origin=node_id, hlc=min(row.hlc, ceiling))
            if incoming_wins(rows.get(key), incoming):
                rows[key] = msgspec.structs.replace(incoming, rev=UNNUMBERED)
                changed[key] = None
    return Merged(rows, list(changed))
