"""The node's bounded work that comes again and again: freeing records, giving room back, the logs of workloads, the audit log."""

from __future__ import annotations

from skerry.kit.tasks import Guard, Tasks
from skerry.node.host import Host
from skerry.node.services import Node
from skerry.node.workloads.log_shipping import EVERY

RETENTION_EVERY = 600.0

_BREATH = 0.05
"""Seconds that others have for themselves between two steps of giving room back to the disk."""


def sweep(node: Node, host: Host, tasks: Tasks) -> None:
    """Does it for as long as the tasks run."""
    tasks.forever(_retain(node, host), name="retention")
    tasks.forever(_age(node, host), name="ageing of logs")
    tasks.forever(_ship(node, host), name="shipping of logs")
    node.audit.follow(tasks)


async def _retain(node: Node, host: Host) -> None:
    guard = Guard("freeing acknowledged records", host.clock, host.chance)
    while True:
        await guard.run(node.sweeps.retention.once)
        await guard.run(lambda: _give_back(node, host))
        await host.clock.sleep(RETENTION_EVERY)


async def _give_back(node: Node, host: Host) -> None:
    while await node.store.writer.give_back():
        await host.clock.sleep(_BREATH)


async def _age(node: Node, host: Host) -> None:
    guard = Guard("removing old logs", host.clock, host.chance)
    while True:
        await guard.run(node.sweeps.ageing.once)
        await host.clock.sleep(RETENTION_EVERY)


async def _ship(node: Node, host: Host) -> None:
    guard = Guard("shipping logs", host.clock, host.chance)
    while True:
        await host.clock.sleep(EVERY)
        await guard.run(node.sweeps.shipping.once)
