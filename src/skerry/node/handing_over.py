"""What a process of the node gives the one that follows it or works for it: the settings, and the key of its keys.

Through memory with a descriptor, unlike arguments and environment not shown to others. The key goes along because the
place that it came from, a pipe for one, may have been there to be read once.
"""

from __future__ import annotations

import os

import msgspec

from skerry.node.node_settings import NodeSettings, from_bytes, to_bytes


class Handed(msgspec.Struct, frozen=True):
    """`kek` opens `keys.json`; empty: the place that the settings name has not been read yet, or nothing is sealed."""

    settings: NodeSettings
    kek: bytes = b""

    def __repr__(self) -> str:
        return "Handed()"


class _Bytes(msgspec.Struct, frozen=True):
    settings: bytes
    kek: bytes


def hand_over(handed: Handed) -> int:
    """A descriptor that the other process inherits; whoever makes it closes it."""
    descriptor = os.memfd_create("skerry-settings", 0)
    data = msgspec.msgpack.encode(_Bytes(to_bytes(handed.settings), handed.kek))
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def taken_over(descriptor: int) -> Handed:
    """What `hand_over` was given; nobody reads it a second time."""
    with open(descriptor, "rb") as file:
        found = msgspec.msgpack.decode(file.read(), type=_Bytes)
    return Handed(from_bytes(found.settings), found.kek)
