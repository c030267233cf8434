"""What the hub's settings say of entities holds for the fleet: declarations that say otherwise are put right.

At the start, and in the transaction in which somebody declares otherwise (`push`, `own_edits`). It is an
edit by the hub like any other, so nodes hear of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy import Connection

from skerry.core.entity_words import carried, decided, names_in
from skerry.core.merging import canonical
from skerry.core.synced_words import SAY_NOTHING, EntityWords
from skerry.hub.store import locks, shared, shared_feed
from skerry.hub.store.hub_store import HubStore
from skerry.hub.sync import rows_push
from skerry.kit.hlc import time_after
from skerry.wire.codec import encode
from skerry.wire.shared import DECLARATIONS, Declaration, Edit, EditFrame


class Declarations:
    """`words` is what the settings say, by the entity's name."""

    def __init__(self, words: Mapping[str, EntityWords]) -> None:
        self._words = {name: said for name, said in words.items() if said != SAY_NOTHING}

    def instead(self, entity: str, asked: Declaration) -> Declaration:
        """What is asked for, with what the settings say in its place."""
        words = self._words.get(entity, SAY_NOTHING)
        said = carried(words, decided(words, asked))
        return msgspec.structs.replace(said, settled=names_in(words))

    async def hold_all(self, store: HubStore, at: int) -> None:
        """Puts all declarations right. What the settings no longer name is free again; what nobody has declared waits for that."""

        def work(connection: Connection) -> bool:
            locks.of_fleet(connection)
            return self.hold(connection, shared_feed.ids(connection, DECLARATIONS), at)

        await store.write(work)

    def hold(self, connection: Connection, entities: Iterable[str], at: int) -> bool:
        """Puts the declarations of these entities right; whether any had to be. The caller holds the fleet's lock."""
        edits = [
            edit for entity in entities if (edit := self._edit(connection, entity, at)) is not None
        ]
        if edits:
            rows_push.apply(connection, [EditFrame(DECLARATIONS, edits)], "", at)
        return bool(edits)

    def _edit(self, connection: Connection, entity: str, at: int) -> Edit | None:
        row = shared.find(connection, DECLARATIONS, entity)
        if row is None or row.deleted:
            return None
        said = shared.declaration(connection, entity)
        wanted = self.instead(entity, said)
        if wanted == said:
            return None
        body = msgspec.Raw(canonical(encode(wanted)))
        return Edit(entity, row.rev, time_after(at, row.hlc), "put", body)


HELD_BY_NONE = Declarations({})
"""Where no settings say anything."""
