"""`skerry node diagnostics`: one file with what support needs of the node here, and no secret (docs/operate/diagnostics.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.data_dirs import ContextOption, node_options
from skerry.cli.output import Form, FormOption, standard_screen
from skerry.cli.progress import Progress
from skerry.kit.units import format_size

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
        Path, typer.Option("--to", metavar="FILE", help="The file to write: FILE.tar.zst.")
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
    path, disk, now = to.absolute(), RealDisk(), SystemClock().wall_ns()
    with Progress(screen) as progress:
        collector = Collector(config or [], options, progress.step)
        with written(path, disk, now, collector.most()) as bundle:
            collector.collect(bundle, path, now)
    size = path.stat().st_size
    screen.tell(
        f"wrote {path}: {format_size(size)}, {len(bundle.members)} members",
        {"path": str(path), "size": size, "members": sorted(bundle.members), "missing": collector.missing},
    )  # fmt: skip
    for why in dict.fromkeys(collector.missing.values()):
        what = ", ".join(name for name, cause in collector.missing.items() if cause == why)
        screen.note(f"not in it: {what}: {why}")
    screen.say(f"look before you pass it on: tar --zstd -tvf {path}")
