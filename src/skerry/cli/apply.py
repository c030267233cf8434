"""`skerry apply` and `skerry diff`: files of workloads and models → the hub's desired state."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.output import Cell, Form, Table, word, words
from skerry.cli.session import Session, remote
from skerry.core.specs import Desired, check_set, parse_desired
from skerry.kit.errors import InvalidInput
from skerry.kit.text_file import read_stream, read_text
from skerry.wire.people import Applied, Apply, ApplyReply, FieldChange

Files = Annotated[
    list[Path],
    typer.Option(
        "-f", "--file", help="A file of workloads and models; «-» is stdin. May be repeated."
    ),
]
Prune = Annotated[bool, typer.Option("--prune", help="Delete workloads that no file names.")]


def register(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command("apply")(apply)
    app.command("diff")(diff)


@remote
async def apply(
    session: Session,
    file: Files,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    prune: Prune = False,
) -> None:
    """Create and change workloads and models as the files say."""
    request = _request(file, dry_run=dry_run, prune=prune)
    async with session.hub() as hub:
        reply = await hub.send("PUT", "/api/v1/workloads", request, ApplyReply)
    session.screen.show(applied_table(reply))
    if dry_run:
        session.screen.note("nothing was changed (--dry-run)")


@remote
async def diff(session: Session, file: Files, prune: Prune = False) -> None:
    """Show, field by field, what applying the files would change."""
    request = _request(file, dry_run=True, prune=prune)
    async with session.hub() as hub:
        reply = await hub.send("PUT", "/api/v1/workloads", request, ApplyReply)
    if session.screen.form is Form.TABLE:
        show_differences(session, reply)
    else:
        session.screen.show(differences_table(reply))


def read_files(paths: list[Path]) -> Desired:
    """What all files want. Raises one InvalidInput with what is wrong in the first bad file or between them."""
    found = [
        parse_desired(
            read_stream(sys.stdin.buffer, "stdin") if str(path) == "-" else read_text(path),
            "stdin" if str(path) == "-" else str(path),
        )
        for path in paths
    ]
    desired = Desired(
        [spec for each in found for spec in each.workloads],
        [model for each in found for model in each.models],
    )
    problems = check_set(desired.workloads, desired.models)
    if problems:
        names = ", ".join(map(str, paths))
        raise InvalidInput("\n".join(f"{names}: {problem}" for problem in problems))
    return desired


def _request(paths: list[Path], *, dry_run: bool, prune: bool) -> Apply:
    desired = read_files(paths)
    return Apply(desired.workloads, dry_run=dry_run, prune=prune, models=desired.models)


def applied_table(reply: ApplyReply) -> Table:
    """One line for each workload and model."""
    return Table(
        ("NAME", "CHANGE", "NODES", "FIELDS"),
        [
            (
                name,
                word(each.change),
                words(each.nodes),
                paths(each.fields, shown=each.change == "change"),
            )
            for name, each in _all(reply)
        ],
        reply,
        "nothing to apply",
    )


def _all(reply: ApplyReply) -> list[tuple[str, Applied]]:
    """Models first, as they are needed first; a workload's name stands alone."""
    models = [(f"model {each.name}", each) for each in reply.models]
    return [*models, *((each.name, each) for each in reply.workloads)]


def paths(changes: Sequence[FieldChange], *, shown: bool = True) -> Cell:
    """The fields that differ. Of a new or deleted workload people know that it is every field: `shown` is False."""
    names = [change.path for change in changes]
    return Cell(" ".join(names) if shown else "", raw=names)


def differences_table(reply: ApplyReply) -> Table:
    """One line for each field that differs, for programs."""
    return Table(
        ("NAME", "CHANGE", "FIELD", "OLD", "NEW"),
        [
            (name, each.change, change.path, change.old or "", change.new or "")
            for name, each in _all(reply)
            for change in each.fields
        ],
        reply,
    )


def show_differences(session: Session, reply: ApplyReply) -> None:
    """A block for each workload and model that would change."""
    changed = [(name, each) for name, each in _all(reply) if each.change != "unchanged"]
    if not changed:
        session.screen.say("no difference")
    for name, each in changed:
        where = f" on {', '.join(each.nodes)}" if each.nodes else ""
        session.screen.say(f"{name}: {each.change}{where}", word(each.change).style)
        _show_fields(session, each)


def _show_fields(session: Session, applied: Applied) -> None:
    for change in applied.fields:
        if change.old is not None:
            session.screen.say(f"  - {change.path}: {change.old}", "red")
        if change.new is not None:
            session.screen.say(f"  + {change.path}: {change.new}", "green")
