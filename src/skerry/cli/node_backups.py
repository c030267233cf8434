"""`skerry node backup|restore`: one file for all that the node here consists of, and back (docs/operate/backups.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skerry.cli.data_dirs import ContextOption, node_options
from skerry.cli.output import Form, FormOption, Screen, standard_screen
from skerry.cli.progress import Progress
from skerry.kit.errors import Corrupt
from skerry.kit.units import format_size
from skerry.node.settings import find_settings, node_settings

if TYPE_CHECKING:
    from skerry.kit.archive.format import Contents
    from skerry.kit.archive.reading import Archive
    from skerry.node.backups.making import Made
    from skerry.node.backups.restoring import Keeping, Restored
    from skerry.node.node_settings import NodeSettings

DataDir = Annotated[Path | None, typer.Option(help="The node's data directory.")]
Configs = Annotated[
    list[Path] | None,
    typer.Option(
        "--config", help="The node's settings file, else node.yaml in there. May be repeated."
    ),
]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="The file with a recovery passphrase; nobody else may read it.")
]
_STEP = 32 * 1024 * 1024
"""Bytes between two signs of life."""


def register(node: typer.Typer) -> None:
    """Adds the commands to `skerry node`."""
    node.command("backup")(backup)
    node.command("restore")(restore)


def backup(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Where to; else the next one in the directory of backups (storage.backup_path)."
        ),
    ] = None,
    context: ContextOption = None,
    data_dir: DataDir = None,
    config: Configs = None,
    passphrase_file: PassphraseFile = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Back up the node here, whether it runs or not: database, unsent records and files, identity, settings, keys."""
    from skerry.kit.clock import SystemClock
    from skerry.kit.disk import RealDisk
    from skerry.kit.sealing.sources import read_secret
    from skerry.node.backups.making import Maker

    settings, screen = _settings(data_dir, config, context), standard_screen(output)
    passphrase = read_secret(passphrase_file) if passphrase_file else None
    maker = Maker(settings, RealDisk(), SystemClock(), passphrase)
    with Progress(screen) as progress:
        told = _teller(progress, "backing up")
        made = (
            maker.to_directory("everything", progress=told)
            if file is None
            else maker.to_file(file.absolute(), progress=told)
        )
    _tell_made(screen, made)


def restore(  # noqa: PLR0913, PLR0917 - one argument for each option
    file: Annotated[Path, typer.Argument(help="The backup.")],
    context: ContextOption = None,
    data_dir: DataDir = None,
    config: Configs = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Set aside what is in the data directory, and restore."),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only read the backup whole, and restore nothing.")
    ] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(help="A kept copy of the key file of the directory that was backed up."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Restore the node here from a backup; the node must not run."""
    from skerry.kit.clock import SystemClock
    from skerry.kit.disk import RealDisk
    from skerry.node.audit.left_outside import entered
    from skerry.node.backups.restoring import Restorer, open_backup

    settings, screen = _settings(data_dir, config, context), standard_screen(output)
    keeping = _keeping(settings, key_file, passphrase_file)
    with _damage_explained(), Progress(screen) as progress:
        archive, key = open_backup(file.absolute(), settings, keeping)
        told = _teller(progress, "reading the backup")
        if check:
            _tell_whole(screen, archive, archive.verify(key, told))
        else:
            disk, clock = RealDisk(), SystemClock()
            restorer = Restorer(settings, disk, clock)
            detail = f"from {archive.path}{', replacing what was there' if replace else ''}"
            with entered(settings.data_dir, disk, clock, "restore_node", detail):
                restored = restorer.restore(archive, key, replace=replace, progress=told)
            _tell_restored(screen, restored)


@contextlib.contextmanager
def _damage_explained() -> Iterator[None]:
    try:
        yield
    except Corrupt as error:
        raise Corrupt(
            f"{error}. Copy it again from where it came, or take the one before. Nothing was changed here."
        ) from error


def _tell_whole(screen: Screen, archive: Archive, contents: Contents) -> None:
    header = archive.header
    screen.tell(
        f"{archive.path} is whole: {header.holds} of node «{header.name}», {len(contents.entries)} members, "
        f"{format_size(contents.size)}",
        {
            "path": str(archive.path),
            "name": header.name,
            "made_at": header.made_at,
            "content": contents.size,
        },
    )


def _settings(
    data_dir: Path | None, config: list[Path] | None, context: str | None
) -> NodeSettings:
    options = node_options(data_dir, config, context)
    return node_settings(find_settings(config or [], options=options))


def _keeping(
    settings: NodeSettings, key_file: Path | None, passphrase_file: Path | None
) -> Keeping:
    from skerry.kit.sealing.sources import Source, Surroundings, obtain, read_secret
    from skerry.node.backups.making import recovery_passphrase
    from skerry.node.backups.restoring import Keeping

    kek = None
    if key_file is not None:
        where = Surroundings(settings.data_dir.absolute(), None)
        kek = obtain(Source("file", str(key_file.absolute())), where)
    given = read_secret(passphrase_file) if passphrase_file else recovery_passphrase(settings)
    return Keeping(kek, given)


def _teller(progress: Progress, doing: str) -> Callable[[int], None]:
    done = shown = 0

    def told(size: int) -> None:
        nonlocal done, shown
        done += size
        if done - shown >= _STEP or not shown:
            shown = max(done, 1)
            progress.step(f"{doing}: {format_size(done)}")

    return told


def _tell_made(screen: Screen, made: Made) -> None:
    screen.tell(
        f"backed up to {made.path}: {format_size(made.size)}, with {format_size(made.records)} of records that the hub "
        f"may not have and {made.files} unsent files",
        {
            "path": made.path,
            "size": made.size,
            "made_at": made.made_at,
            "holds": made.holds,
            "content": made.content,
            "records": made.records,
            "files": made.files,
            "opened_by": made.opened_by,
            "removed": made.removed,
        },
    )
    if made.opened_by:
        screen.say(f"encrypted; opened by {' or by '.join(made.opened_by)}")
    else:
        screen.say(
            "not encrypted: who has the file has all that the node knows (--passphrase-file encrypts it)"
        )
    screen.say(f"restore it: skerry node restore {made.path} --data-dir DIRECTORY")


def _tell_restored(screen: Screen, restored: Restored) -> None:
    screen.tell(
        f"restored node «{restored.name}» into {restored.data_dir}: {restored.holds}, {format_size(restored.records)} of "
        f"records, {restored.files} files",
        {
            "data_dir": restored.data_dir,
            "name": restored.name,
            "id": restored.id,
            "made_at": restored.made_at,
            "holds": restored.holds,
            "records": restored.records,
            "files": restored.files,
            "sealed_by": restored.sealed_by,
            "replaced": restored.replaced,
            "kept": restored.kept,
            "left_behind": restored.left_behind,
            "keyless": restored.keyless,
        },
    )
    if restored.keyless:
        screen.note(
            "the backup was not sealed, so nothing by which the hub knows this node is in it. It runs what it had; for the "
            f"hub, enrol it again. There: skerry revoke node {restored.name}, skerry token create. Here: skerry node enroll "
            f"--again --data-dir {restored.data_dir} --hub URL --token-file FILE"
        )
    if restored.kept:
        screen.say("the backup has no records: those that were there stayed, with their files")
    if restored.left_behind:
        screen.note(
            f"{restored.left_behind} records that the hub does not have are in {restored.replaced} only, and nothing sends "
            f"them. To go back to them, stop the node and put what is in there in its former place in {restored.data_dir}"
        )
    elif restored.replaced:
        screen.say(f"what was there is in {restored.replaced}; delete it when you do not need it")
    if restored.sealed_by:
        screen.say(f"its keys are now sealed by {restored.sealed_by}")
    screen.say(f"start it: skerry node run --data-dir {restored.data_dir}")
