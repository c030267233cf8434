"""`skerry hub backup|backups|restore`: the hub's store as a file, and back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skerry.cli.data_dirs import ContextOption, hub_options
from skerry.cli.output import Cell, Form, FormOption, Line, Screen, Table, standard_screen
from skerry.cli.session import Session, remote
from skerry.hub.settings import HubSettings, find_settings, hub_settings
from skerry.kit.clock import SystemClock, iso
from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.units import format_duration, format_size, parse_duration
from skerry.wire.people import BackupStatus

if TYPE_CHECKING:
    from skerry.hub.backups.making import Made

ConfigOption = Annotated[
    list[Path] | None,
    typer.Option(help="The hub's settings file. May be repeated; a later one wins."),
]
DataDirOption = Annotated[Path | None, typer.Option(help="Overrides data_dir.")]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="The file with a recovery passphrase; nobody else may read it.")
]


def backup(  # noqa: PLR0913, PLR0917 - one for each option
    file: Annotated[
        Path | None,
        typer.Argument(help="The file to write; else the next one in the hub's own directory."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Run your own tool instead, and let nodes rely on what it copied if it ends with 0.",
        ),
    ] = None,
    kept: Annotated[
        str, typer.Option(help="For how long your own tool keeps what it copied, at most 7d.")
    ] = "7d",
    with_files: Annotated[
        bool,
        typer.Option(
            "--with-files", help="Your own tool copies the directory «files» of data_dir, too."
        ),
    ] = False,
    passphrase_file: PassphraseFile = None,
    context: ContextOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Back the hub up while it works. Nodes may forget what is in a backup on another disk than the hub's."""
    from skerry.hub import maintenance

    settings = _settings(config, hub_options(data_dir, config, context), passphrase_file)
    screen = standard_screen(output)
    if with_files and by is None:
        raise InvalidInput("cannot use --with-files without --by: a backup by Skerry has the files")
    if by is not None:
        if file is not None:
            raise InvalidInput("cannot use a file together with --by: your own tool writes it")
        _count_other(settings, screen, by, kept, with_files=with_files)
        return
    try:
        path = None if file is None else file.absolute()
        _tell(screen, maintenance.back_up(settings, path, SystemClock()))
    except OSError as error:
        raise Transient(f"cannot write the backup: {error.strerror}") from error


def _count_other(
    settings: HubSettings, screen: Screen, by: str, kept: str, *, with_files: bool
) -> None:
    from skerry.hub import maintenance

    words, seconds = _words_of(by), parse_duration(kept)
    lanes = maintenance.count_other(settings, words, seconds, SystemClock(), files=with_files)
    screen.tell(f"counts for {kept}: {lanes} lanes of nodes", {"lanes": lanes})
    if not with_files and settings.blobs.url is None:
        screen.note(
            "files and events are not counted: nodes keep them. --with-files says that the tool copies "
            f"{settings.data_dir / 'files'}, too"
        )


def _words_of(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidInput(f"cannot use --by «{command}»: {error}") from error
    if not words:
        raise InvalidInput("cannot use --by: it names no command")
    return words


def _tell(screen: Screen, made: Made) -> None:
    screen.tell(
        f"{made.path} ({format_size(made.size)}{', encrypted' if made.encrypted else ''}), {made.blobs} blobs beside it",
        {
            "path": str(made.path),
            "size": made.size,
            "encrypted": made.encrypted,
            "blobs": made.blobs,
            "plain_blobs": made.plain,
            "counts": made.apart,
            "counts_files": made.apart and made.files_apart,
        },
    )
    if made.encrypted and made.plain:
        screen.note(
            f"{made.plain} of the blobs beside it are NOT encrypted: only encryption.storage seals models and files, or "
            "an encrypted disk"
        )
    if made.without_trust:
        screen.note(
            "the fleet's authority (the directory «trust») is NOT in it, because it is not encrypted: give a passphrase, "
            "or keep the root elsewhere: skerry hub ca export"
        )
    if not made.apart:
        screen.note(
            "it may lie on the disk of the database: nodes keep what they have all the same"
        )
    elif not made.files_apart:
        screen.note("it lies on the disk of the files: nodes keep files and events all the same")


def restore(  # noqa: PLR0913, PLR0917 - one for each option
    file: Annotated[Path, typer.Argument(help="The backup.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Set the database that is there aside.")
    ] = False,
    without_files: Annotated[
        bool,
        typer.Option("--without-files", help="Even when blobs that belong to it are gone."),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only read the backup, and say whether it is whole.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    context: ContextOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Put a backup in the place of the hub's database. The hub must be stopped; nodes send again what it lacks."""
    from skerry.hub import maintenance
    from skerry.hub.backups.restoring import Wish

    settings = _settings(config, hub_options(data_dir, config, context), passphrase_file)
    screen = standard_screen(output)
    try:
        if check:
            found = maintenance.check(settings, file.absolute())
            screen.tell(
                f"{file} is whole: the hub at {iso(found.taken_at)}, {found.blobs} blobs, {found.missing} of them missing",
                {"taken_at": found.taken_at, "blobs": found.blobs, "missing": found.missing},
            )
            return
        wish = Wish(replace, without_files)
        done = maintenance.restore(settings, file.absolute(), wish, SystemClock())
    except OSError as error:
        raise Transient(f"cannot restore {file}: {error.strerror}") from error
    restored = f"restored what the hub was at {iso(done.taken_at)}; epoch {done.epoch}"
    screen.tell(restored, done.__dict__)
    if done.aside:
        screen.say(f"what was there: {done.aside}")
    if done.trust:
        screen.say(
            "the fleet's authority is back, too: nodes go on with the certificates they have"
        )
    elif done.needs_trust:
        screen.say(
            "the fleet's authority was not in it. Where nodes have certificates the hub starts when you have put its "
            "directory «trust» back, or brought the root: skerry hub ca import"
        )
    if done.missing:
        screen.say(f"{done.missing} blobs are missing; nodes send again what they still have")


@remote
async def backups(session: Session) -> None:
    """Show the hub's own backups, and which ones nodes rely on."""
    async with session.hub() as hub:
        status = await hub.get("/api/v1/backups", BackupStatus)
    session.screen.show(
        Table(
            ("TAKEN", "SIZE", "BACKUP"),
            [
                (
                    Cell(iso(each.taken_at), raw=each.taken_at),
                    Cell(format_size(each.size), raw=each.size),
                    each.path or "by your own tools",
                )
                for each in status.counting
            ],
            status,
            "nodes rely on no backup: they keep what was acknowledged for 7 days",
            lead=_lead(status),
        )
    )


def _lead(status: BackupStatus) -> list[Line]:
    if not status.interval:
        lines = [Line("the hub makes no backups by itself")]
    else:
        last = iso(status.made_at) if status.made_at else "none yet"
        every = format_duration(status.interval)
        lines = [Line(f"every {every} in {status.directory}; the last: {last}")]
    return [*lines, Line(f"failing: {status.problem}")] if status.problem else lines


def _settings(
    config: list[Path] | None, options: dict[str, str], passphrase_file: Path | None
) -> HubSettings:
    if passphrase_file is not None:
        options |= {"storage.backup_passphrase": str(passphrase_file.absolute())}
    return hub_settings(find_settings(config or [], options=options))
