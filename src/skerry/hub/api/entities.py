"""Shared rows for people and their tools: rows, what they were, and conflicts (docs/reference/sync.md)."""

from __future__ import annotations

from litestar import Router, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from skerry.hub.api.auth import READ, WRITE, AuthenticatedRequest
from skerry.hub.api.bodies import WireBody
from skerry.hub.api.row_ids import row_id
from skerry.hub.sync.model_rows import ModelRows
from skerry.hub.sync.shared_rows import MAX_LIST, SharedRows
from skerry.wire.entities import (
    Changes,
    ChangesMade,
    Count,
    Declare,
    Declared,
    Find,
    Found,
    WaitingEdits,
)
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

_ENTITY = "/api/v1/entities/{entity:str}"
_ROW = f"{_ENTITY}/rows/{{id_:str}}"
_CONFLICT = "/api/v1/conflicts/{entity:str}/{id_:str}"


@get("/api/v1/entities", opt=READ)
async def list_entities(shared_rows: NamedDependency[SharedRows]) -> list[EntityView]:
    """Every entity that has or had rows."""
    return await shared_rows.entities()


@put(_ENTITY, dto=WireBody[Declare], return_dto=None, opt=WRITE)
async def declare_entity(
    entity: FromPath[str], data: JSONBody[Declare], model_rows: NamedDependency[ModelRows]
) -> Declared:
    """Says how an entity is synced; refuses to say otherwise than it was said before, unless told to replace that."""
    return await model_rows.declare(entity, data)


@post(f"{_ENTITY}/changes", dto=WireBody[Changes], return_dto=None, status_code=200, opt=WRITE)
async def change_rows(
    request: AuthenticatedRequest,
    entity: FromPath[str],
    data: JSONBody[Changes],
    model_rows: NamedDependency[ModelRows],
) -> ChangesMade:
    """Creates, updates and deletes up to 5,000 rows, all of them or none."""
    return await model_rows.change(entity, data, request.user.id)


@post(f"{_ENTITY}/find", dto=WireBody[Find], return_dto=None, status_code=200, opt=READ)
async def find_rows(
    entity: FromPath[str], data: JSONBody[Find], model_rows: NamedDependency[ModelRows]
) -> Found:
    """Rows by their ids, or by the beginning of their ids and the values of fields."""
    return await model_rows.find(entity, data)


@post(f"{_ENTITY}/count", dto=WireBody[Find], return_dto=None, status_code=200, opt=READ)
async def count_rows(
    entity: FromPath[str], data: JSONBody[Find], model_rows: NamedDependency[ModelRows]
) -> Count:
    """How many rows a search would find."""
    return await model_rows.count(entity, data)


@get(f"{_ENTITY}/conflicts", opt=READ)
async def waiting_edits(
    entity: FromPath[str], model_rows: NamedDependency[ModelRows]
) -> WaitingEdits:
    """The edits of one entity that wait, with their bodies and what they were made on."""
    return await model_rows.waiting(entity)


@get(f"{_ENTITY}/rows", opt=READ)
async def list_rows(
    entity: FromPath[str],
    shared_rows: NamedDependency[SharedRows],
    after: FromQuery[str] = "",
    limit: FromQuery[int] = MAX_LIST,
) -> RowList:
    """The rows of an entity in the order of their ids, page by page."""
    return await shared_rows.list(entity, after, limit)


@get(_ROW, opt=READ)
async def show_row(
    entity: FromPath[str], id_: FromPath[str], shared_rows: NamedDependency[SharedRows]
) -> RowView:
    """One row."""
    return await shared_rows.get(entity, row_id(id_))


@put(_ROW, dto=WireBody[RowPut], return_dto=None, opt=WRITE)
async def put_row(
    entity: FromPath[str],
    id_: FromPath[str],
    data: JSONBody[RowPut],
    shared_rows: NamedDependency[SharedRows],
) -> RowWritten:
    """Creates or replaces a row; an edit of an older revision is judged as one by a node."""
    return await shared_rows.put(entity, row_id(id_), data)


@delete(_ROW, status_code=200, opt=WRITE)
async def delete_row(
    entity: FromPath[str],
    id_: FromPath[str],
    shared_rows: NamedDependency[SharedRows],
    base: FromQuery[int | None] = None,
) -> RowWritten:
    """Deletes a row everywhere."""
    return await shared_rows.delete(entity, row_id(id_), base)


@get(f"{_ROW}/history", opt=READ)
async def row_history(
    entity: FromPath[str], id_: FromPath[str], shared_rows: NamedDependency[SharedRows]
) -> list[RowVersion]:
    """What a row was, and which edits of it lost, the newest last."""
    return await shared_rows.history(entity, row_id(id_))


@get("/api/v1/conflicts", opt=READ)
async def list_conflicts(
    shared_rows: NamedDependency[SharedRows], entity: FromQuery[str | None] = None
) -> list[ConflictView]:
    """The edits that wait until a person decides."""
    return await shared_rows.conflicts(entity)


@get("/api/v1/decisions", opt=READ)
async def list_decisions(
    shared_rows: NamedDependency[SharedRows],
    entity: FromQuery[str | None] = None,
    limit: FromQuery[int] = 100,
) -> list[Decision]:
    """Who has decided conflicts of the last 30 days, the newest first."""
    return await shared_rows.decisions(entity, limit)


@get(_CONFLICT, opt=READ)
async def show_conflict(
    entity: FromPath[str], id_: FromPath[str], shared_rows: NamedDependency[SharedRows]
) -> Conflict:
    """A row that has edits waiting: the version that serves, the edits, and what they were made on."""
    return await shared_rows.conflict(entity, row_id(id_))


@post(f"{_CONFLICT}/resolve", dto=WireBody[Resolve], return_dto=None, status_code=200, opt=WRITE)
async def resolve_conflict(
    request: AuthenticatedRequest,
    entity: FromPath[str],
    id_: FromPath[str],
    data: JSONBody[Resolve],
    shared_rows: NamedDependency[SharedRows],
) -> RowWritten:
    """Decides what waits for a row. Nodes get the decision as a new version of it."""
    return await shared_rows.resolve(entity, row_id(id_), data, request.user.id)


def entity_routes() -> Router:
    """Every route about shared rows for people."""
    return Router(
        "/",
        route_handlers=[
            list_entities,
            declare_entity,
            change_rows,
            find_rows,
            count_rows,
            waiting_edits,
            list_rows,
            show_row,
            put_row,
            delete_row,
            row_history,
            list_conflicts,
            list_decisions,
            show_conflict,
            resolve_conflict,
        ],
    )
