"""Rows of models at the hub (`skerry.sdk.model`): many at once for people's programs, by the same requests as on a node.

Edits are judged like those of nodes, in one transaction for a request. See `wire.entities` and `own_edits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from sqlalchemy import Connection

from skerry.core.entity_changes import (
    Now,
    check_changes,
    check_entity,
    edit_of,
    new_body,
    together,
    was_made,
)
from skerry.core.entity_search import Wanted, fits, longest_sign, read_filters
from skerry.hub.store import shared, shared_views
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.shared import Stored
from skerry.hub.sync.own_edits import Judge, OwnEdits
from skerry.hub.sync.shared_rows import check_name, check_put
from skerry.kit.errors import InvalidInput, NotFound
from skerry.wire.codec import encode
from skerry.wire.entities import (
    MAX_ANSWER,
    MAX_FOUND,
    Change,
    Changes,
    ChangesMade,
    Count,
    Declare,
    Declared,
    EntityRow,
    Find,
    Found,
    WaitingEdit,
    WaitingEdits,
    Written,
)
from skerry.wire.rows import RowView
from skerry.wire.shared import DECLARATIONS, Declaration, Edit

_PAGE = 500
_NULL = msgspec.Raw(b"null")


class ModelRows:
    """Every call names an entity."""

    def __init__(self, store: HubStore, own_edits: OwnEdits) -> None:
        self._store = store
        self._own_edits = own_edits

    async def declare(self, entity: str, asked: Declare) -> Declared:
        """Keeps the entity as asked, and as the hub's settings say. Raises InvalidInput when it is declared otherwise."""
        check_entity(entity)
        if asked.local:
            raise InvalidInput(f"cannot declare entity «{entity}» here: its rows stay on a node")

        def work(judge: Judge) -> Declaration:
            connection = judge.connection
            found = shared.find(connection, DECLARATIONS, entity)
            declaration, held = asked.declaration, {} if found is None else {entity: found}
            if found is not None and not found.deleted:
                declared = shared.declaration(connection, entity)
                say = judge.declarations.instead(entity, asked.declaration)
                asked_so = msgspec.structs.replace(asked, declaration=say)
                declaration = together(entity, Declared(declared, local=False), asked_so)
                if declared == declaration:
                    return declaration
            body = check_put(DECLARATIONS, entity, encode(declaration))
            rev = 0 if found is None else found.rev
            edit = Edit(entity, rev, 0, "put", msgspec.Raw(body))
            judge.apply(DECLARATIONS, [edit], held)
            return shared.declaration(connection, entity)

        return Declared(await self._own_edits.make(work), local=False)

    async def change(self, entity: str, asked: Changes, who: str = "") -> ChangesMade:
        """Makes all changes, or none; `who` asks. Raises InvalidInput, NotFound, Refused, TooLarge."""
        check_name(entity)
        check_changes(entity, asked)
        ids = [each.id for each in asked.changes]

        def work(judge: Judge) -> list[Written]:
            connection = judge.connection
            held = shared.rows(connection, entity, ids)
            declaration = shared.declaration(connection, entity)
            settled = [each.id for each in asked.changes if each.kind == "settle"]
            waiting = shared.waiting(connection, entity, settled) if settled else {}
            unknown = [each for each in settled if each not in waiting]
            if unknown and not asked.again:
                raise NotFound(
                    f"cannot settle row «{unknown[0]}» of «{entity}»: nothing waits for it"
                )
            edits: list[Edit] = []
            for each in asked.changes:
                before, waits = held.get(each.id), each.id in waiting
                if asked.again and was_made(entity, declaration, each, _now(before), waits=waits):
                    continue
                if edit := _edit(entity, declaration, each, before):
                    edits.append(edit)
            if edits:
                judge.apply(entity, edits, held, who)
            now = shared.rows(connection, entity, ids)
            return [_written(each, held.get(each.id), now.get(each.id)) for each in asked.changes]

        return ChangesMade(await self._own_edits.make(work))

    async def find(self, entity: str, asked: Find) -> Found:
        """Rows that fit."""
        check_name(entity)
        filters = read_filters(asked)
        return await self._store.read(lambda c: _find(c, entity, asked, filters))

    async def count(self, entity: str, asked: Find) -> Count:
        """How many fit, whatever `limit` says. With filters it takes time with the number of rows."""
        check_name(entity)
        filters = read_filters(asked)
        if filters or asked.ids is not None or asked.after:
            counted = await self._store.read(
                lambda c: sum(1 for _ in _fitting(c, entity, asked, filters))
            )
        else:
            counted = await self._store.read(lambda c: shared_views.count(c, entity, asked.prefix))
        return Count(counted)

    async def waiting(self, entity: str) -> WaitingEdits:
        """The edits of all nodes that wait for a decision."""

        def work(connection: Connection) -> list[WaitingEdit]:
            ids = dict.fromkeys(each.id for each in shared_views.conflicts(connection, entity))
            found = (shared_views.conflict(connection, entity, each) for each in ids)
            return [
                WaitingEdit(one.id, edit.node, edit.base, _NULL if edit.deleted else edit.body)
                for one in found
                if one is not None
                for edit in one.waiting
            ]

        return WaitingEdits(await self._store.read(work))


def _now(held: Stored | None) -> Now:
    rev = 0 if held is None else held.rev
    return Now(None, rev) if held is None or held.deleted else Now(held.body, rev)


def _edit(
    entity: str, declaration: Declaration, change: Change, held: Stored | None
) -> Edit | None:
    """What the change is to the judge; None: nothing."""
    now, rev = _now(held), 0 if held is None else held.rev
    made = edit_of(declaration, change)
    read = change.read
    is_older = read is not None and 0 < read.rev != rev and change.expected is None
    body: bytes | None
    if is_older and made is not None and read is not None and now.body is not None:
        rev, body = read.rev, made[1]  # the judge finds what it was made on by its revision
    else:
        body = new_body(entity, declaration, change, now)
        if body is now.body and change.kind != "settle":
            return None
    if body is None:
        return Edit(change.id, rev, 0, "delete")
    body = check_put(entity, change.id, body)
    return Edit(change.id, rev, 0, "put", msgspec.Raw(body), settles=change.kind == "settle")


def _written(change: Change, before: Stored | None, now: Stored | None) -> Written:
    there = before is not None and not before.deleted
    if now is None or now.deleted:
        return Written(0, 0, there)
    body = _NULL if now.body == bytes(change.body) else msgspec.Raw(now.body)
    return Written(now.rev, now.rev, there, body)


def _find(connection: Connection, entity: str, asked: Find, filters: Sequence[Wanted]) -> Found:
    most = min(max(asked.limit, 1), MAX_FOUND)
    views: list[RowView] = []
    size, after = 0, ""
    for view in _fitting(connection, entity, asked, filters):
        if len(views) == most or (views and size + len(bytes(view.body)) > MAX_ANSWER):
            after = views[-1].id
            break
        views.append(view)
        size += len(bytes(view.body))
    waits = shared.waiting(connection, entity, [each.id for each in views])
    return Found(
        [
            EntityRow(
                each.id, each.rev, each.rev, "conflict" if each.id in waits else "synced", each.by, each.body
            )
            for each in views
        ],
        after,
    )  # fmt: skip


def _fitting(
    connection: Connection, entity: str, asked: Find, filters: Sequence[Wanted]
) -> Iterator[RowView]:
    for view in _candidates(connection, entity, asked, filters):
        if fits(filters, bytes(view.body)):
            yield view


def _candidates(
    connection: Connection, entity: str, asked: Find, filters: Sequence[Wanted]
) -> Iterator[RowView]:
    if asked.ids is not None:
        found = shared_views.some(connection, entity, asked.ids)
        yield from (each for each in found if each.id > asked.after)
        return
    sign, after = longest_sign(filters), asked.after
    most = _PAGE if filters else min(max(asked.limit, 1) + 1, _PAGE)
    while True:
        page = shared_views.page(connection, entity, after, most, asked.prefix, sign)
        yield from page.rows
        after = page.next
        if not after:
            return
