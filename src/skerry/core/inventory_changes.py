"""What a device tells differently than before: pure. The hub keeps it as the history of the device."""

from __future__ import annotations

import msgspec

from skerry.kit.one_line import one_line
from skerry.wire.inventory import Differing
from skerry.wire.workload import NodeInfo

_OF_EACH_START = frozenset({"started_at", "boot_id"})
_LONGEST = 500


def differing(before: NodeInfo, now: NodeInfo) -> list[Differing]:
    """By name. Where one of the two is of an agent that told no inventory, nothing can be said about that."""
    old, new = _flat(before), _flat(now)
    if before.inventory is None or now.inventory is None:
        known = old.keys() & new.keys()
        old, new = ({key: each[key] for key in known} for each in (old, new))
    return [
        Differing(name, old.get(name, ""), new.get(name, ""))
        for name in sorted({*old, *new})
        if old.get(name, "") != new.get(name, "")
    ]


def _flat(info: NodeInfo) -> dict[str, str]:
    told = msgspec.structs.asdict(info)
    inventory = told.pop("inventory")
    if inventory is not None:
        told |= msgspec.structs.asdict(inventory)
    return {name: _text(value) for name, value in told.items() if name not in _OF_EACH_START}


def _text(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return one_line(text)[:_LONGEST]
