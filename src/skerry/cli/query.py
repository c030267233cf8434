"""`skerry query`: records by name and time, from the hub or, when it cannot be reached, from the node here."""

from __future__ import annotations

from typing import Annotated

import typer

from skerry.cli.http import Api
from skerry.cli.output import Form
from skerry.cli.rows import left_out, records_table, rows_of
from skerry.cli.session import Session, remote
from skerry.cli.times import parse_span
from skerry.kit.errors import Refused
from skerry.wire.local import NodeStatus
from skerry.wire.people import Columns, Rows


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("query")(query)


@remote
async def query(  # noqa: PLR0913 - one parameter for each option
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="The record's name; «*» matches anything: 'host.*'")],
    since: Annotated[
        str | None, typer.Option(help="10m or -10m (ten minutes ago), or an ISO time.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="As --since; that moment is not included.")
    ] = None,
    node: Annotated[str | None, typer.Option(help="Only this node's records.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 1000,
    here: Annotated[
        bool, typer.Option("--here", help="Ask the node here: what it still has, sent or not.")
    ] = False,
) -> None:
    """Show records: timestamp, name, value and meta, the newest last."""
    start, end = parse_span(since, until, session.clock.wall_ns())
    asked = {"name": name, "since": start, "until": end, "limit": limit}

    async def at_node(api: Api) -> Rows:
        if node is not None:
            name_here = (await api.get("/v1/status", NodeStatus)).name
            if name_here != node:
                asked_hub = "" if here else "the hub cannot be reached, and "
                raise Refused(
                    f"cannot query node «{node}»: {asked_hub}the node here is «{name_here}»"
                )
        return await api.get("/v1/records", Rows, asked)

    async def at_hub(api: Api) -> Rows:
        by_column = {**asked, "node": node, "format": "columns"}
        return rows_of(await api.get("/api/v1/records", Columns, by_column))

    if here:
        async with session.node() as api:
            rows = await at_node(api)
    else:
        rows = await session.hub_first(at_hub, at_node)
    several = len({row.node for row in rows.rows}) > 1 or session.screen.form is Form.CSV
    hint = "" if "*" in name else f"; «*» stands for any characters: '{name}*'"
    session.screen.show(
        records_table(rows.rows, with_node=several, empty=f"no records found{hint}")
    )
    if rows.truncated:
        session.screen.note(f"more match; these are the newest {len(rows.rows)} (raise --limit)")
    if rows.damaged:
        session.screen.note(left_out(rows.damaged))
