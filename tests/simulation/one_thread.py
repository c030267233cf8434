"""The product in one thread and without true chance, for as long as a block lasts.

Of the shipped commit threads everything stays but the thread: groups are formed and committed by `kit.commit`'s own code,
in the event loop, after a time that chance chooses. Ids and tokens come from the seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy
from sqlalchemy import Engine
from tests.simulation.virtual_loop import VirtualLoop

from skerry.hub.store import engine as hub_engine
from skerry.hub.store import hub_store
from skerry.kit import commit, ids, sqlite
from skerry.node.store import records


class CommitTurns(commit.CommitThread[Any, Any]):
    """`CommitThread` whose groups are committed in turns of the virtual loop."""

    _due = False

    def start(self) -> None:
        self._engine.open()

    def submit(self, job: Any) -> Any:
        future = super().submit(job)
        self._soon()
        return future

    def stop(self) -> None:
        while not self._jobs.empty():
            self._take()
        self._engine.close()

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            loop = cast("VirtualLoop", asyncio.get_running_loop())
            loop.call_later(loop.pause(), self._turn)

    def _turn(self) -> None:
        self._due = False
        if not self._jobs.empty():
            self._take()
        if not self._jobs.empty():
            self._soon()

    def _take(self) -> None:
        group, _ = self._next_group()
        self._commit(group)


@functools.cache
def _known() -> Engine:
    """Its dialect and its compiled statements serve every hub of the process: each life would compile them anew."""
    engine = sqlalchemy.create_engine("sqlite://", query_cache_size=4000)
    engine.connect().close()
    return engine


def _create_engine(*words: Any, **more: Any) -> Engine:
    engine = sqlalchemy.create_engine(*words, **more)
    engine.dialect, engine._compiled_cache = _known().dialect, _known()._compiled_cache
    return engine


@contextlib.contextmanager
def one_thread(chance: random.Random) -> Iterator[None]:
    """What the product does within the block follows from `chance` alone."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (sqlite, hub_store, records):
            patch.setattr(module, "CommitThread", CommitTurns)
        secrets = SimpleNamespace(
            randbits=chance.getrandbits, token_hex=lambda size: chance.randbytes(size).hex()
        )
        patch.setattr(ids, "secrets", secrets)
        patch.setattr(hub_engine, "create_engine", _create_engine)
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
