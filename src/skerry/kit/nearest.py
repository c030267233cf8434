"""«Did you mean …?»"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_LISTED = 20


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None when none is alike."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence to append to an error: the nearest word, else the list of what is known, cut after MAX_LISTED."""
    names = sorted(known)
    found = nearest(word, names)
    if found:
        return f"did you mean «{found}»?"
    more = len(names) - MAX_LISTED
    return f"known are: {', '.join(names[:MAX_LISTED])}" + (f" and {more} more" if more > 0 else "")
