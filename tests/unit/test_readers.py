"""Who hears of changes of shared rows, and how often."""

from __future__ import annotations

import asyncio

from skerry.hub.sync.readers import FEW, Readers


class Told:
    """Counts what each node is told."""

    def __init__(self, nodes: int) -> None:
        self.times = dict.fromkeys((f"n{number}" for number in range(nodes)), 0)
        self.more = asyncio.Event()
        self.gone: set[str] = set()
        self.readers = Readers(self._tell)
        for node in self.times:
            self.readers.pulled(node, ["thing"])

    def _tell(self, node_id: str) -> bool:
        if node_id in self.gone:
            return False
        self.times[node_id] += 1
        self.more.set()
        return True


async def test_few_readers_hear_of_each_change_at_once() -> None:
    told = Told(FEW)
    for _ in range(5):
        told.readers.changed(["thing"], "n0")
    assert told.times == {"n0": 0, **dict.fromkeys([*told.times][1:], 5)}


async def test_readers_that_are_not_connected_make_nobody_wait() -> None:
    told = Told(2 * FEW)
    told.gone = set([*told.times][FEW:])
    for _ in range(5):
        told.readers.changed(["thing"])
    assert told.times == {node: 0 if node in told.gone else 5 for node in told.times}


async def test_many_readers_hear_of_the_first_change_at_once_and_of_the_next_ones_together() -> (
    None
):
    told = Told(FEW + 2)
    told.readers.changed(["thing"], "n0")
    first = {"n0": 0, **dict.fromkeys([*told.times][1:], 1)}
    assert told.times == first
    told.more.clear()
    told.readers.changed(["thing"], "n1")
    told.readers.changed(["thing"], "n1")
    told.readers.changed(["thing"], "n2")
    assert told.times == first
    await told.more.wait()
    assert told.times == {node: times + 1 for node, times in first.items()}


async def test_who_made_all_the_changes_that_waited_knows_them() -> None:
    told = Told(FEW + 1)
    told.readers.changed(["thing"])
    told.more.clear()
    for _ in range(3):
        told.readers.changed(["thing"], "n1")
    await told.more.wait()
    assert told.times == {node: 1 if node == "n1" else 2 for node in told.times}


async def test_other_entities_do_not_wait() -> None:
    told = Told(FEW + 1)
    told.readers.pulled("n0", ["other"])
    told.readers.changed(["thing"])
    told.readers.changed(["thing", "other"])
    assert told.times == {"n0": 2, **dict.fromkeys([*told.times][1:], 1)}
