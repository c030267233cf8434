"""Which nodes a workload is for."""

from __future__ import annotations

from skerry.wire.workload import Selector


def selects(selector: Selector, node: str, labels: dict[str, str]) -> bool:
    """Whether the node of this name and these labels is meant. An empty selector means every node."""
    if selector.node is not None and selector.node != node:
        return False
    return all(labels.get(key) == value for key, value in selector.labels.items())
