"""USB devices that containers need: waited for, handed over, and watched: one that is unplugged ends its container.

Plugging and unplugging is told by the kernel (`hotplug`); then the tree is read again. Containers keep the nodes that
they were made with, so one whose device has moved to another node needs a new container, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from skerry.core.usb_names import UsbName, usb_name
from skerry.kit.bell import Bell
from skerry.node.ports import NeedGone
from skerry.node.workloads.runtimes.containers.usb import (
    UsbDevice,
    find,
    mappings,
    not_there,
    plugged_in,
)
from skerry.wire.workload import Assignment

Listen = Callable[[Callable[[], None]], Callable[[], None]]
"""Calls back after devices have come or gone; returns what ends that."""

Handed = Mapping[str, Sequence[str]]
"""The nodes that a container was given, by the spec's entry."""


class Devices:
    """`lost` is called with each instance whose device is not (any more) where it was when its container was made."""

    def __init__(self, sys_root: Path, listen: Listen, changed: Bell) -> None:
        self.lost: Callable[[str], None] = lambda _instance: None
        self._sys_root = sys_root
        self._listen = listen
        self._changed = changed
        self._there: list[UsbDevice] = []
        self._handed: dict[str, Handed] = {}
        self._wanted = False
        self._stop: Callable[[], None] | None = None

    def want(self, assignments: Iterable[Assignment]) -> None:
        """As `Needs.want`: who needs no USB device costs nothing."""
        self._wanted = any(_names(_items(one)) for one in assignments)
        self._tend()

    def missing(self, assignment: Assignment) -> str:
        """As `Needs.missing`."""
        names = _names(_items(assignment)).values()
        absent = [name for name in names if find(name, self._there) is None]
        return not_there(absent) if absent else ""

    def hand(self, instance: str, items: Sequence[str]) -> list[tuple[str, str]]:
        """(node, name inside) of everything that a new container is given. Raises NeedGone."""
        names = _names(items)
        if not names:
            return []
        self._there = plugged_in(self._sys_root)
        given: list[tuple[str, str]] = []
        handed: dict[str, Sequence[str]] = {}
        for item, name in names.items():
            device = find(name, self._there)
            if device is None:
                self._changed.ring()
                raise NeedGone(not_there([name]))
            given += mappings(name, device)
            handed[item] = device.nodes
        self._handed[instance] = handed
        self._tend()
        return given

    def handed(self, instance: str) -> Handed:
        """What this instance was given."""
        return self._handed.get(instance, {})

    def was_handed(self, instance: str, handed: Handed) -> None:
        """An earlier agent has given these; they may have gone since."""
        if handed and instance not in self._handed:
            self._handed[instance] = handed
            self._tend()
            self._look()

    def let_go(self, instance: str) -> None:
        """Its container is gone."""
        self._handed.pop(instance, None)
        self._tend()

    def close(self) -> None:
        """Nobody is told any more."""
        self._wanted = False
        self._handed.clear()
        self._tend()

    def _tend(self) -> None:
        needed = self._wanted or bool(self._handed)
        if needed and self._stop is None:
            self._stop = self._listen(self._look)
            self._there = plugged_in(self._sys_root)
        elif not needed and self._stop is not None:
            self._stop()
            self._stop = None

    def _look(self) -> None:
        before, self._there = self._there, plugged_in(self._sys_root)
        if before != self._there:
            self._changed.ring()
        for instance, handed in tuple(self._handed.items()):
            if any(self._nodes(item) != tuple(nodes) for item, nodes in handed.items()):
                del self._handed[instance]
                self.lost(instance)
        self._tend()

    def _nodes(self, item: str) -> tuple[str, ...]:
        name = usb_name(item)
        device = None if name is None else find(name, self._there)
        return () if device is None else device.nodes


def _items(assignment: Assignment) -> Sequence[str]:
    container = assignment.spec.container
    return () if container is None else container.devices


def _names(items: Sequence[str]) -> dict[str, UsbName]:
    named = ((item, usb_name(item)) for item in items)
    return {item: name for item, name in named if name is not None}
