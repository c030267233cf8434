"""`skerry audit list|verify`: who did what at the hub or a node, and whether that is still all of it. See docs/operate/audit.md.

`verify` trusts nobody: it hashes the entries itself and compares them with the head that it kept the last time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer
from msgspec.structs import replace

from skerry.cli import audit_sources
from skerry.cli.audit_sources import AT_ONCE, Pages, Source
from skerry.cli.audit_walk import by_its_hub, by_witnesses, of_view, walk
from skerry.cli.output import Cell, Table, ago, number, word
from skerry.cli.session import Session, remote
from skerry.cli.times import parse_time
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, InvalidInput
from skerry.wire.audit import AcceptNodeLog, AuditHeadReply, AuditRow, NodeLogView, Witnesses
from skerry.wire.codec import decode, encode

_DAMAGED = "skerry audit verify --anew takes what is there for right, from now on; docs/operate/audit.md says what it may mean"

NodeOption = Annotated[
    str | None,
    typer.Option("--node", metavar="NAME", help="The log of this node, as its hub has it."),
]
HereOption = Annotated[
    bool,
    typer.Option(
        "--here", help="The log of the node on this machine, from its database; nobody is asked."
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Who did what at the hub, and at its nodes.", no_args_is_help=True)
    group.command("list")(list_entries)
    group.command("verify")(verify)
    app.add_typer(group, name="audit")


@remote
async def list_entries(
    session: Session,
    since: Annotated[
        str | None, typer.Option(help="Only what was entered since then: 1h, or ISO-8601.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many entries, the newest.")] = 100,
    node: NodeOption = None,
    here: HereOption = False,
) -> None:
    """List what people did at the hub or a node, and what was refused, the newest last."""
    start = parse_time(since, session.clock.wall_ns()) if since else None
    async with _source(session, node, here).opened as pages:
        rows = await _newest(pages, start, limit)
    session.screen.show(entries_table(rows[-limit:], session.clock.wall_ns()))


async def _newest(pages: Pages, start: int | None, limit: int) -> list[AuditRow]:
    """The last entries, from the end backwards: those that come meanwhile are not among them."""
    top = (await pages(0, 1)).head.seq
    rows: list[AuditRow] = []
    while top > 0 and len(rows) < limit:
        after = max(0, top - min(AT_ONCE, limit))
        part = [row for row in (await pages(after, top - after)).entries if row.entry.seq <= top]
        wanted = [row for row in part if start is None or row.entry.at >= start]
        rows = wanted + rows
        if len(wanted) < len(part):
            break
        top = after
    return rows


def _source(session: Session, node: str | None, here: bool, database: str | None = None) -> Source:
    given = [
        option
        for option, value in (("--node", node), ("--here", here), ("--database", database))
        if value
    ]
    if len(given) > 1:
        raise InvalidInput(f"cannot read two logs at a time: leave out {given[0]} or {given[1]}")
    if node:
        return audit_sources.of_node(session, node)
    if database:
        return audit_sources.in_database(database)
    return audit_sources.here(session) if here else audit_sources.at_hub(session)


def entries_table(rows: list[AuditRow], now: int) -> Table:
    """One line for each entry; what was begun and has an outcome here is one."""
    ended = {row.entry.of for row in rows}
    return Table(
        ("SEQ", "WHEN", "WHO", "ROLE", "ACTION", "OBJECT", "FROM", "OUTCOME", "STATUS", "COUNT", "DETAIL"),
        [
            (
                number(each.seq),
                ago(each.at, now),
                each.actor or "nobody",
                each.role,
                each.action,
                each.object,
                each.origin,
                word(each.outcome),
                Cell(str(each.status or ""), raw=each.status),
                number(each.count),
                each.detail,
            )
            for each in (row.entry for row in rows)
            if each.outcome != "begun" or each.seq not in ended
        ],
        rows,
        empty="nothing was entered",
    )  # fmt: skip


@remote
async def verify(
    session: Session,
    head: Annotated[
        Path | None,
        typer.Option(help="The file that keeps the head, instead of one in ~/.local/state/skerry."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Read this database (sqlite:////PATH) and ask no hub."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Compare with no earlier head; keep what is found.")
    ] = False,
    node: NodeOption = None,
    here: HereOption = False,
) -> None:
    """Check that the audit log is whole, and that what was there the last time still is."""
    source = _source(session, node, here, database)
    where = source.where
    kept_in = head or state_file(Path.home(), where)
    before = None if anew else read_head(kept_in)
    async with source.opened as pages:
        walked = await walk(pages, before)
    finding, note = walked.finding, ""
    if finding is None and not (node or here or database):
        witnesses = await _witnesses(session)
        since = before.epoch if before else witnesses.epoch if anew else 0
        finding = by_witnesses(walked, witnesses, since)
        walked.reached = replace(walked.reached, epoch=since)
    if finding is None and node:
        view = await _of_hub(session, node, anew=anew)
        finding, note = by_its_hub(walked, view), of_view(view, walked.reached.head.seq)
    now = walked.reached
    if finding is not None:
        raise Corrupt(
            f"cannot trust the audit log of {where}: {finding.words} ({finding.fault}, entry {finding.seq}). "
            f"The head in {kept_in} stays. {_DAMAGED}"
        )
    _keep(kept_in, now)
    known = f", and goes on from entry {before.head.seq}" if before else ""
    session.screen.tell(
        f"the audit log of {where} is whole: {now.head.seq} entries{known}; the head is kept in {kept_in}",
        {"hub_id": now.hub_id, "seq": now.head.seq, "hash": now.head.hash, "kept_in": str(kept_in)},
    )
    if note:
        session.screen.note(note)


async def _witnesses(session: Session) -> Witnesses:
    async with session.hub() as hub:
        return await hub.get("/api/v1/audit/witnesses", Witnesses)


async def _of_hub(session: Session, node: str, *, anew: bool) -> NodeLogView:
    path = f"/api/v1/nodes/{quote(node, safe='')}/audit"
    async with session.hub() as hub:
        view = await hub.get(f"{path}/heads", NodeLogView)
        if not anew:
            return view
        return await hub.send("POST", f"{path}/accept", AcceptNodeLog(view.branch), NodeLogView)


def state_file(home: Path, where: str) -> Path:
    """Where the head of the log at an address is kept."""
    return home / ".local" / "state" / "skerry" / "audit" / f"{quote(where, safe='')}.json"


def read_head(path: Path) -> AuditHeadReply | None:
    """The head that was kept; None: none was. Raises InvalidInput."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    return decode(data, AuditHeadReply, str(path))


def _keep(path: Path, head: AuditHeadReply) -> None:
    data = msgspec.json.format(encode(head), indent=2)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        RealDisk().write_atomic("audit.head", path, data + b"\n")
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from error
