"""Nodes whose workloads keep rows of models, beside a real hub. The SDK blocks, so tests call it in threads."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

from tests.local_node import local_node
from tests.sealed_node import SealedNode
from tests.shared_rig import Fleet, SharingNode, fleet

from skerry import sdk
from skerry.kit.clock import SystemClock
from skerry.node.store.entity_rows import EntityRows
from skerry.node.store.shared_frames import SharedFrames
from skerry.node.store.shared_rows import SharedRows
from skerry.sdk import Repository

T = TypeVar("T")


class ModelNode:
    """A node and one workload's socket."""

    def __init__(self, node: SharingNode, socket: Path) -> None:
        self.node = node
        self.socket = str(socket)

    def of(self, cls: type[T]) -> Repository[T]:
        return sdk.repository(cls, socket=self.socket)


class ModelFleet:
    """A hub and nodes, all with their sync on."""

    def __init__(self, found: Fleet, nodes: list[ModelNode]) -> None:
        self.fleet = found
        self.nodes = nodes

    def at_hub(self, cls: type[T]) -> Repository[T]:
        return sdk.repository(cls, hub=self.fleet.hub.address, token=self.fleet.hub.admin_token)


@contextlib.asynccontextmanager
async def model_fleet(directory: Path, nodes: int = 1) -> AsyncIterator[ModelFleet]:
    """A running hub and so many nodes."""
    async with contextlib.AsyncExitStack() as ending:
        found = await ending.enter_async_context(fleet(directory))
        made = []
        for number in range(nodes):
            node = await found.node(f"n{number}")
            node.sync_on()
            socket = directory / f"w{number}" / "sock"
            here = directory / f"local{number}"
            here.mkdir()
            await ending.enter_async_context(
                local_node(here, socket, entities=node.program.entities)
            )
            made.append(ModelNode(node, socket))
        yield ModelFleet(found, made)


def entities(node: SealedNode) -> EntityRows:
    """Of a node's store alone."""
    store = node.store
    rows = SharedRows(store.writer, store.reader, SystemClock(), store.state.node_id, store.cipher)
    return EntityRows(rows, SharedFrames(rows, store.cipher, store.state.log))
