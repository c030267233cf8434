"""Which models go when room is needed: pure. The least recently used first, never one that is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from skerry.node.models.layout import Entry
from skerry.wire.models import ModelFile


def unneeded(entries: Mapping[str, Entry], needed: Set[str]) -> list[Entry]:
    """Models of which no file is in `needed` (hashes), the one that was not used for the longest time first."""
    free = [entry for entry in entries.values() if needed.isdisjoint(hashes(entry.files))]
    return sorted(free, key=lambda entry: (entry.last_used_at, entry.model_id))


def chosen(entries: Mapping[str, Entry], needed: Set[str], size: int) -> list[Entry]:
    """The models whose removal frees `size` bytes; all that are not needed, when that is not enough.

    A file that two models share is free when both are gone.
    """
    gone: list[Entry] = []
    kept = dict(entries)
    before = room_of(kept.values())
    for entry in unneeded(entries, needed):
        if before - room_of(kept.values()) >= size:
            break
        gone.append(entry)
        del kept[entry.model_id]
    return gone


def room_of(entries: Iterable[Entry]) -> int:
    """Bytes of these models' files, each counted once."""
    return sum({file.sha256: file.size for each in entries for file in each.files}.values())


def hashes(files: Iterable[ModelFile]) -> set[str]:
    """The names of the files' contents."""
    return {file.sha256 for file in files}
