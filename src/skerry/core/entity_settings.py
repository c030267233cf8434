"""The settings `sync.entities.NAME.*` and `sync.schedule.NAME`, the same for node and hub.

Those of the edge-infrastructure document's four entities are always there (`core.documented`); others are there because a
file names them. `core.entity_words` has what they do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from skerry.core.config import SourceFile
from skerry.core.features import Feature
from skerry.core.names import entity_fault
from skerry.core.setting_values import Setting
from skerry.core.yaml_lines import Document, read_documents
from skerry.kit.errors import InvalidInput
from skerry.kit.nearest import did_you_mean

SYNCED = ("workflows", "workflow_executions", "agents", "agent_executions")
"""The document's."""

STRATEGIES = ("last_modified", "central_wins", "edge_wins", "merge", "manual")
FALLBACKS = ("last_modified", "central_wins", "edge_wins", "manual")
RULES = ("lww", "max", "min", "sum", "union", "text", "edge")
PRIORITIES = ("high", "medium", "low")

_SECTIONS = ("entities", "schedule")
_MISSPELT = 0.8
"""So much alike: «workflow» is, «workers» is not."""


def documented_entity(name: str, feature: Feature) -> Iterator[Setting]:
    """What the document says of one of its entities."""
    yield Setting(
        f"sync.entities.{name}.priority",
        "word",
        None,
        f"How soon {name} are sent, compared with others.",
        words=PRIORITIES,
        feature=feature,
        nodes_only=True,
    )
    yield Setting(
        f"sync.entities.{name}.conflict_resolution",
        "word",
        None,
        f"Who wins a conflict about {name}.",
        words=STRATEGIES,
        general="sync.conflict_resolution",
        feature=feature,
        nodes_only=True,
    )
    yield Setting(f"sync.entities.{name}.batch_size", "integer", None, f"How many {name} travel in one request at most.",
        low=1, high=10_000, feature=feature, nodes_only=True)  # fmt: skip


def documented_schedule(name: str, feature: Feature) -> Setting:
    """How often one of the document's entities is synced."""
    return Setting(f"sync.schedule.{name}", "duration", None, f"How often {name} are synced.",
        unit="seconds", low=1, general="sync.sync_interval", feature=feature, nodes_only=True)  # fmt: skip


def shared_entity(name: str) -> tuple[Setting, ...]:
    """What can be said of an entity of shared rows."""
    at = f"sync.entities.{name}"
    return (
        Setting(f"{at}.priority", "word", None, "Which lane its edits take.", words=PRIORITIES),
        Setting(f"{at}.batch_size", "integer", None, "How many of its rows travel in one request at most.",
                low=1, high=10_000),
        Setting(f"{at}.conflict_resolution", "word", None, "Who wins a conflict about its rows.",
                words=STRATEGIES, general="sync.conflict_resolution"),
        Setting(f"{at}.fallback", "word", None, "With «merge»: who wins where both sides changed the same field.",
                words=FALLBACKS),
        Setting(f"{at}.fields", "texts", {}, "Rules of single fields, «{cooked: sum}», for «merge».", check=_rules_fault),
        Setting(f"{at}.keys", "texts", {}, "The field by which elements of a list are one and the same, «{steps: number}».",
                check=_keys_fault),
        Setting(f"sync.schedule.{name}", "duration", None,
                "When its rows are synced, unless they are of high priority; those are at most so long apart.",
                unit="seconds", low=1, high=7 * 86_400.0, nodes_only=True),
    )  # fmt: skip


def named_entities(files: Iterable[SourceFile]) -> tuple[Setting, ...]:
    """The settings of all entities of shared rows that the files name. Raises InvalidInput for names that none can have.

    A name like one of the document's is taken for that one misspelt: it is left unknown.
    """
    names: dict[str, None] = {}
    for file in files:
        for document in read_documents(file.text, file.name):
            names |= dict.fromkeys(_names(document))
    return tuple(setting for name in names for setting in shared_entity(name))


def _names(document: Document) -> Iterator[str]:
    sync = document.value.get("sync") if isinstance(document.value, dict) else None
    for section in _SECTIONS:
        found = sync.get(section) if isinstance(sync, dict) else None
        for name in found if isinstance(found, dict) else ():
            if difflib.get_close_matches(str(name), SYNCED, cutoff=_MISSPELT):
                continue
            fault = entity_fault(str(name))
            if fault:
                line = document.line(("sync", section, name))
                raise InvalidInput(f"{document.file}:{line}: sync.{section}.{name}: {fault}")
            yield str(name)


def _rules_fault(value: object) -> str | None:
    rules = value.items() if isinstance(value, dict) else ()
    for path, rule in rules:
        if rule not in RULES:
            return f"unknown rule «{rule}» of «{path}»: {did_you_mean(str(rule), RULES)}"
    return _keys_fault(value)


def _keys_fault(value: object) -> str | None:
    paths = value if isinstance(value, dict) else ()
    wrong = next((path for path in paths if not all(str(path).split("."))), None)
    return None if wrong is None else f"«{wrong}» is no path of a field: write steps.*.done"
