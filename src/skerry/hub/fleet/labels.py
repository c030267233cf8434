"""Labels of nodes: what can be one, and how they are stored. A node reports its own; those of its token count before them."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.core.names import label_fault
from skerry.hub.store.bodies import GIVEN_LABELS, LABELS, Bodies
from skerry.kit.errors import InvalidInput
from skerry.wire.codec import decode, encode

_MAX_LABELS = 64


def check_labels(labels: Mapping[str, str]) -> None:
    """Raises InvalidInput unless `labels` can be a node's labels."""
    if len(labels) > _MAX_LABELS:
        raise InvalidInput(f"cannot take {len(labels)} labels: a node has at most {_MAX_LABELS}")
    faults = [label_fault(key, value) for key, value in labels.items()]
    found = [fault for fault in faults if fault is not None]
    if found:
        raise InvalidInput(f"cannot take the node's labels: {'; '.join(found)}")


def stored_labels(bodies: Bodies, node_id: str, labels: Mapping[str, str]) -> str:
    """Of the column `labels`."""
    return bodies.seal_text(LABELS, _text(labels), node_id)


def stored_given(bodies: Bodies, node_id: str, labels: Mapping[str, str]) -> str:
    """Of the column `given_labels`."""
    return bodies.seal_text(GIVEN_LABELS, _text(labels), node_id)


def read_given(bodies: Bodies, node_id: str, stored: str) -> dict[str, str]:
    """The inverse of `stored_given`."""
    text = bodies.open_text(GIVEN_LABELS, stored, node_id)
    return decode(text.encode(), dict[str, str], "the labels that a node was given")


def _text(labels: Mapping[str, str]) -> str:
    return encode(dict(sorted(labels.items()))).decode()
