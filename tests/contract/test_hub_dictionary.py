"""Numbers that the hub remembers for texts hold for one connection: behind the next may be another server."""

from __future__ import annotations

import contextlib

from sqlalchemy import update
from tests.hub_rig import HubRig

from skerry.hub.data.dictionary import Dictionary
from skerry.hub.store.engine import parse_url, writer_engine
from skerry.hub.store.tables import session


async def test_numbers_are_forgotten_with_the_connection(hub: HubRig) -> None:
    numbers = Dictionary[str](session, ("node_id", "token"), limit=10)
    engine = writer_engine(parse_url(hub.url))

    def number() -> int:
        with engine.begin() as connection:
            numbers.meet(connection)
            found = numbers.resolve(
                connection, ["t"], 1, lambda token: {"node_id": "n", "token": token}
            )
        numbers.learn(found)
        return found.ids["t"]

    with contextlib.ExitStack() as undo:
        undo.callback(engine.dispose)
        first = number()
        with engine.begin() as connection:  # as another server may have numbered it
            connection.execute(update(session).values(id=session.c.id + 100))
        assert number() == first
        with engine.connect() as connection:
            connection.invalidate()
        assert number() == first + 100
