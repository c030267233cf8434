"""Names that people give: workloads and nodes, labels, patterns of measurements, files, addresses. One rule each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from skerry.kit.one_line import one_line

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?")
_PATTERN = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_.\-/*]{0,254}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

_SECRET = re.compile(r"(?i)(passw(or)?d|passphrase|secret|token|api_?key|private_?key|credential)")

_MOST_NAMED = 5

MAX_LABEL_TEXT = 63
MAX_COMPONENT = 255
"""Bytes of a file's name on Linux."""

CONSOLE = "console"
"""The source of what somebody publishes at the device by hand."""

SOURCES_OF_OUR_OWN = frozenset({"hub", "skerry", CONSOLE})
"""Records of these sources are written by hub and node themselves, or by hand; no workload may be called so."""

DEVICES_OWN = "cyberwave-"
"""Workloads whose names begin so are a device's own (drivers of twins and what serves them): people make none."""

RESERVED_MODELS = frozenset({"manifest.json"})
"""Beside the models lies their list."""

RESERVED_FILES = frozenset({"metadata.json"})
"""Beside a model's files lies what describes it."""

MAX_ROW_ID = 200
"""Characters."""

NAMES_OF_OUR_OWN = "skerry."
"""Records whose names begin so are written by the platform itself; no workload may publish them."""

NAMES_OF_TWINS = "cyberwave/"
"""Records of what drivers publish, each of its own twins only: they come by the gate, and no other way."""


def is_sha256(text: str) -> bool:
    """Whether it is the hex form that blobs are named by."""
    return _SHA256.fullmatch(text) is not None


def name_fault(name: str) -> str | None:
    """What is wrong with a workload's or a node's name, as a sentence."""
    if _NAME.fullmatch(name):
        return None
    return (
        f"«{name}» is not a name: use at most 63 lower-case letters, digits and «-», "
        "first and last a letter or digit"
    )


def entity_fault(entity: str) -> str | None:
    """What is wrong with the name of an entity of one's own, as a sentence."""
    if _NAME.fullmatch(entity.replace("_", "-")):
        return None
    return (
        f"«{one_line(entity[:64])}» is no entity's name: use at most 63 lower-case letters, digits and «_», "
        "first and last a letter or digit"
    )


def first_names(names: Iterable[str]) -> str:
    """A few of the names, sorted, and how many more there are."""
    every = sorted(names)
    more = len(every) - _MOST_NAMED
    return ", ".join(every[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def looks_secret(name: str) -> bool:
    """Whether a variable of this name most likely holds a secret."""
    return _SECRET.search(name) is not None


def holds_control(text: str) -> bool:
    """Whether `text` has line ends, other control characters, or those that turn the direction of writing."""
    return _CONTROL.search(text) is not None


def row_id_fault(row_id: str) -> str | None:
    """What is wrong with the id of a shared row, or of a model's."""
    if 0 < len(row_id) <= MAX_ROW_ID and not holds_control(row_id):
        return None
    shown = ascii(row_id[:40])[1:-1] if holds_control(row_id) else row_id[:40]
    return f"«{shown}» is no row's id: use 1 to {MAX_ROW_ID} characters, none of them a control character"


def component_fault(name: str) -> str | None:
    """What is wrong with a name that becomes one part of a path: a model's, a file's. Never a way to elsewhere."""
    problem = None
    if not name:
        problem = "it is empty"
    elif name.startswith("."):
        problem = "it begins with a dot"
    elif set(name) & {"/", "\\"}:
        problem = "it holds a slash"
    elif holds_control(name):
        problem = "it holds a control character"
    elif name != name.strip():
        problem = "it begins or ends with a space"
    elif len(name.encode()) > MAX_COMPONENT:
        problem = f"it is longer than {MAX_COMPONENT} bytes"
    return problem and f"«{name:.80}» cannot be the name of a file: {problem}"


def label_fault(key: str, value: str) -> str | None:
    """What is wrong with a label."""
    if not _LABEL_KEY.fullmatch(key):
        return (
            f"«{key}» is not a label's key: use at most 63 letters, digits, «_», «.», «-» and «/», "
            "first and last a letter or digit"
        )
    if len(value) > MAX_LABEL_TEXT:
        return f"the value of label «{key}» is longer than {MAX_LABEL_TEXT} characters"
    return None


def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a pattern of measurements' names."""
    if _PATTERN.fullmatch(pattern):
        return None
    return (
        f"«{pattern}» is not a pattern: use letters, digits, «_», «.», «-», «/» and «*» for any run"
    )


def variable_fault(name: str) -> str | None:
    """What is wrong with the name of an environment variable of a workload."""
    if not _VARIABLE.fullmatch(name):
        return f"«{name}» is not a variable's name: use letters, digits and «_», not first a digit"
    if name.startswith("SKERRY_"):
        return f"«{name}» belongs to the node: choose a name that does not begin with SKERRY_"
    return None


def is_url(text: str) -> bool:
    """Whether `text` is an http:// or https:// address."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def url_fault(value: object) -> str | None:
    """What is wrong with a hub's address."""
    if is_url(str(value)):
        return None
    return f"«{value}» is not a URL: write for example http://hub:8600"
