"""In which forms a secret may be printed: what `keeper.masks` looks for besides what always looks secret. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from urllib.parse import quote

from skerry.keeper.log_rules import SHORTEST_SECRET

_MOST_LINES = 200
_SHORTEST_ENCODED = 7
_LONGEST_ENCODED = 1024


def masked_forms(values: Iterable[bytes]) -> list[str]:
    """Texts that must not stand in a log, the longest first. A value of fewer than six characters is not masked."""
    found: set[str] = set()
    for value in values:
        text = value.decode(errors="surrogateescape")
        lines = [line.strip() for line in text.splitlines()[:_MOST_LINES]]
        found.update(line for line in lines if len(line) >= SHORTEST_SECRET)
        found.update(_encoded(value.strip()))
    return sorted(found, key=lambda form: (-len(form), form))


def _encoded(value: bytes) -> Iterable[str]:
    """As it stands in URLs, in JSON, in hexadecimal digits, and in base64 behind any other text, «user:» for example."""
    if not SHORTEST_SECRET <= len(value) <= _LONGEST_ENCODED or b"\n" in value:
        return
    text = value.decode(errors="surrogateescape")
    yield from (quote(value, safe=safe) for safe in ("", "/"))
    yield value.hex()
    yield text.replace("\\", "\\\\").replace('"', '\\"')
    for before in range(3):
        for form in (base64.b64encode, base64.urlsafe_b64encode):
            whole = form(bytes(before) + value).decode().rstrip("=")
            # The characters at both ends depend on what stands before and after, too.
            start = -(-before * 8 // 6)
            end = (before + len(value)) * 8 // 6
            if end - start >= _SHORTEST_ENCODED:
                yield whole[start:end]
