"""The hub's own reading and writing of shared rows, and people's decisions about conflicts.

One row at a time, for people; `model_rows` has many for their programs, and `own_edits` judges those of both. A
decision is an edit of the row as it is that settles what waits.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable

import msgspec
from sqlalchemy import Connection

from skerry.core.entity_changes import kept_body
from skerry.core.names import row_id_fault
from skerry.hub.store import shared, shared_decisions, shared_views
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.shared import Stored
from skerry.hub.store.shared_views import Wait
from skerry.hub.sync.own_edits import Judge, OwnEdits
from skerry.hub.sync.row_fates import Fate
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.kit.one_line import one_line
from skerry.wire.rows import NO_BODY as NOTHING_SAID
from skerry.wire.rows import (
    Conflict,
    ConflictView,
    Decision,
    EntityView,
    Resolve,
    RowList,
    RowPut,
    RowVersion,
    RowView,
    RowWritten,
)
from skerry.wire.shared import Edit

MAX_LIST = 1000

_ENTITY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")


class SharedRows:
    """Every call names an entity; one that nobody has declared is synced as a declaration without words says."""

    def __init__(self, store: HubStore, own_edits: OwnEdits) -> None:
        self._store = store
        self._own_edits = own_edits

    async def entities(self) -> builtins.list[EntityView]:
        """All that have or had rows."""
        return await self._store.read(shared_views.entities)

    async def list(self, entity: str, after: str = "", limit: int = MAX_LIST) -> RowList:
        """Rows in the order of their ids, after `after`."""
        most = min(max(limit, 1), MAX_LIST)
        return await self._store.read(lambda c: shared_views.page(c, entity, after, most))

    async def get(self, entity: str, row_id: str) -> RowView:
        """Raises NotFound."""
        found = await self._store.read(lambda c: shared_views.one(c, entity, row_id))
        if found is None:
            raise NotFound(f"cannot show {_row(entity, row_id)}: there is none")
        return found

    async def history(self, entity: str, row_id: str) -> builtins.list[RowVersion]:
        """What the row is, was and was to be, the newest last. Raises NotFound when nothing is kept."""
        found = await self._store.read(lambda c: shared_views.history(c, entity, row_id))
        if not found:
            raise NotFound(f"cannot show the history of {_row(entity, row_id)}: nothing is kept")
        return found

    async def create(self, entity: str, row_id: str, body: bytes) -> RowWritten:
        """A new row. Raises Refused when there is one, InvalidInput, TooLarge."""
        edit = _put(entity, row_id, body)

        def work(judge: Judge) -> Fate:
            held = shared.find(judge.connection, entity, row_id)
            if held is not None and not held.deleted:
                raise Refused(f"cannot create {_row(entity, row_id)}: it is there. Change it.")
            return _judged(judge, entity, edit, held, None)

        return await self._write(work)

    async def put(self, entity: str, row_id: str, put: RowPut) -> RowWritten:
        """Creates or replaces a row. Raises InvalidInput, TooLarge."""
        edit = _put(entity, row_id, bytes(put.body))

        def work(judge: Judge) -> Fate:
            held = shared.find(judge.connection, entity, row_id)
            return _judged(judge, entity, edit, held, put.base)

        return await self._write(work)

    async def delete(self, entity: str, row_id: str, base: int | None = None) -> RowWritten:
        """`base` as in `RowPut`. Raises NotFound."""

        def work(judge: Judge) -> Fate:
            held = shared.find(judge.connection, entity, row_id)
            if held is None or held.deleted:
                raise NotFound(f"cannot delete {_row(entity, row_id)}: there is none")
            return _judged(judge, entity, Edit(row_id, 0, 0, "delete"), held, base)

        return await self._write(work)

    async def conflicts(self, entity: str | None = None) -> builtins.list[ConflictView]:
        """The edits that wait for a decision, the oldest first."""
        return await self._store.read(lambda c: shared_views.conflicts(c, entity))

    async def conflict(self, entity: str, row_id: str) -> Conflict:
        """Raises NotFound when nothing waits for the row, and says who has decided last."""

        def read(connection: Connection) -> Conflict:
            found = shared_views.conflict(connection, entity, row_id)
            if found is None:
                words = f"cannot show a conflict of {_row(entity, row_id)}: nothing waits"
                raise NotFound(words + _decided(connection, entity, row_id))
            return found

        return await self._store.read(read)

    async def decisions(self, entity: str | None, limit: int) -> builtins.list[Decision]:
        """Who has decided conflicts, the newest first."""
        most = min(max(limit, 1), MAX_LIST)
        return await self._store.read(
            lambda c: shared_decisions.newest(c, shared_views.names(c), entity, most)
        )

    async def resolve(
        self, entity: str, row_id: str, decision: Resolve, who: str = ""
    ) -> RowWritten:
        """Decides all conflicts of a row for `who`; nodes get it as a new version. Raises NotFound, Refused, InvalidInput."""
        said = bytes(decision.body)
        if (decision.take == "body") != (said != NOTHING_SAID):
            raise InvalidInput("cannot resolve: give a body where «body» is taken, and only there")
        given = _put(entity, row_id, said) if decision.take == "body" else None

        def work(judge: Judge) -> Fate:
            waiting = shared_views.waits(judge.connection, entity, row_id)
            if not waiting:
                raise NotFound(f"cannot resolve {_row(entity, row_id)}: nothing waits")
            held = shared.find(judge.connection, entity, row_id)
            edit = given
            if edit is None and decision.take == "node":
                called = shared_views.names(judge.connection)
                edit = _as_waiting(_chosen(waiting, decision.node, called, row_id), row_id)
            elif edit is None:
                edit = _as_held(held, row_id)
            settling = msgspec.structs.replace(edit, settles=True)
            return _judged(judge, entity, settling, held, None, who)

        return await self._write(work)

    async def _write(self, work: Callable[[Judge], Fate]) -> RowWritten:
        fate = await self._own_edits.make(work)
        if fate.outcome == "whole":
            raise InvalidInput("cannot take a patch from a person")
        return RowWritten(fate.outcome, fate.rev)


def check_name(entity: str) -> None:
    """Raises InvalidInput for what cannot be the name of an entity."""
    if _ENTITY.fullmatch(entity) is None:
        raise InvalidInput(
            f"cannot use entity «{one_line(entity[:64])}»: its name has letters, digits, «_», «.» and «-», at most 64"
        )


def check_put(entity: str, row_id: str, body: bytes) -> bytes:
    """As `kept_body`. Raises InvalidInput for names that are none, too."""
    check_name(entity)
    if fault := row_id_fault(row_id):
        raise InvalidInput(f"cannot write a row of «{entity}»: {fault}")
    return kept_body(entity, row_id, body)


def _judged(
    judge: Judge, entity: str, edit: Edit, held: Stored | None, base: int | None, who: str = ""
) -> Fate:
    """What becomes of an edit by `who`; `base` None: it is made on the row as it is."""
    if base is None:
        base = 0 if held is None else held.rev
    made = msgspec.structs.replace(edit, base=base)
    [fate] = judge.apply(entity, [made], {} if held is None else {edit.id: held}, who)
    return fate


def _decided(connection: Connection, entity: str, row_id: str) -> str:
    called = shared_views.names(connection)
    found = shared_decisions.of_row(connection, called, entity, row_id)
    if not found:
        return ""
    last = found[max(found)]
    who = f"«{one_line(last.who)}» at " if last.who else ""
    return f"; {who}{one_line(last.where)} has decided by its revision {last.rev}"


def _put(entity: str, row_id: str, body: bytes) -> Edit:
    return Edit(row_id, 0, 0, "put", msgspec.Raw(check_put(entity, row_id, body)))


def _chosen(waiting: builtins.list[Wait], name: str, called: dict[str, str], row_id: str) -> Wait:
    fitting = [
        wait
        for wait in waiting
        if name in {"", wait.node_id, called.get(wait.node_id, wait.node_id)}
    ]
    if len(fitting) == 1:
        return fitting[0]
    nodes = ", ".join(sorted(called.get(wait.node_id, wait.node_id) for wait in waiting))
    if not fitting:
        raise NotFound(
            f"cannot resolve «{one_line(row_id)}»: nothing of «{one_line(name)}» waits, only of {nodes}"
        )
    raise Refused(f"cannot resolve «{one_line(row_id)}»: edits of {nodes} wait. Say of which node.")


def _as_waiting(wait: Wait, row_id: str) -> Edit:
    if wait.deleted:
        return Edit(row_id, 0, 0, "delete")
    return Edit(row_id, 0, 0, "put", msgspec.Raw(wait.body))


def _as_held(held: Stored | None, row_id: str) -> Edit:
    if held is None or held.deleted:
        return Edit(row_id, 0, 0, "delete")
    return Edit(row_id, 0, 0, "put", msgspec.Raw(held.body))


def _row(entity: str, row_id: str) -> str:
    return f"row «{one_line(row_id)}» of «{one_line(entity)}»"
