"""`skerry node diagnostics`: one file with what support needs of the node here, and no secret (docs/operate/diagnostics.md)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skerry.cli.data_dirs import ContextOption, node_options
from skerry.cli.output import Form, FormOption, Screen, standard_screen
from skerry.cli.progress import Progress
from skerry.kit.errors import InvalidInput
from skerry.kit.units import format_size

if TYPE_CHECKING:
    from skerry.cli.diagnostics_content import Collector

_STDOUT = Path("-")

DataDir = Annotated[Path | None, typer.Option(help="The node's data directory.")]
Configs = Annotated[
    list[Path] | None,
    typer.Option(
        "--config", help="The node's settings file, else node.yaml in there. May be repeated."
    ),
]


def register(node: typer.Typer) -> None:
    """Adds the command to `skerry node`."""
    node.command("diagnostics")(diagnostics)


def diagnostics(
    to: Annotated[
        Path,
        typer.Option(
            "--to", metavar="FILE", help="The file to write: FILE.tar.zst; «-»: to standard output."
        ),
    ],
    context: ContextOption = None,
    data_dir: DataDir = None,
    config: Configs = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Write status, checks, settings, logs and facts of the node here into one file, without secrets; it may run or not."""
    from skerry.cli.diagnostics_content import Collector
    from skerry.kit.clock import SystemClock
    from skerry.kit.disk import RealDisk
    from skerry.node.diagnostics.bundle import written

    screen = standard_screen(output)
    options = node_options(data_dir, config, context)
    if to == _STDOUT:
        _pipe(Collector(config or [], options, screen.note))
        return
    path, disk, now = to.absolute(), RealDisk(), SystemClock().wall_ns()
    with Progress(screen) as progress:
        collector = Collector(config or [], options, progress.step)
        with written(path, disk, now, collector.most()) as bundle:
            collector.collect(bundle, path.parent, now)
    tell_bundle(screen, path, bundle.members, collector.missing)


def tell_bundle(
    screen: Screen, path: Path, members: Mapping[str, int], missing: Mapping[str, str]
) -> None:
    """What has become the file `path`, and what is not in it."""
    size = path.stat().st_size
    screen.tell(
        f"wrote {path}: {format_size(size)}, {len(members)} members",
        {"path": str(path), "size": size, "members": sorted(members), "missing": missing},
    )
    for why in dict.fromkeys(missing.values()):
        what = ", ".join(name for name, cause in missing.items() if cause == why)
        screen.note(f"not in it: {what}: {why}")
    screen.say(f"look before you pass it on: tar --zstd -tvf {path}")


def _pipe(collector: Collector) -> None:
    from skerry.kit.clock import SystemClock
    from skerry.node.diagnostics.bundle import packed

    if sys.stdout.isatty():
        raise InvalidInput("cannot write a bundle to a terminal: name a file, or a pipe")
    now = SystemClock().wall_ns()
    with packed(sys.stdout.buffer, now) as bundle:
        collector.collect(bundle, collector.data_dir, now)
    sys.stdout.buffer.flush()
