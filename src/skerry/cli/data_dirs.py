"""The data directory that a command means which works on files itself, not through a running hub or node.

`--data-dir` says it, else the settings file, else the context: what `skerry up` runs, or what runs with default settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.contexts import Context, contexts_file, read_contexts
from skerry.kit.errors import InvalidInput

ContextOption = Annotated[
    str | None, typer.Option(help="The context to use instead of the current one.")
]


def node_options(
    data_dir: Path | None, configs: Sequence[Path] | None, context: str | None
) -> dict[str, str]:
    """The options that name the node's data directory; none where the settings do. Raises InvalidInput."""
    if data_dir is not None:
        return _options(data_dir)
    meant = _meant(configs, context)
    return {} if meant is None else _options(meant.data_dir)


def hub_options(
    data_dir: Path | None, configs: Sequence[Path] | None, context: str | None
) -> dict[str, str]:
    """As `node_options`, of the hub's. Raises InvalidInput also when the context's hub is not on this machine."""
    if data_dir is not None:
        return _options(data_dir)
    meant = _meant(configs, context)
    if meant is None:
        return {}
    if meant.hub_dir is None:
        raise InvalidInput(
            f"cannot tell where the hub at {meant.hub} keeps its data: the context does not say. Name its directory with "
            "--data-dir, or its settings with --config, on its machine."
        )
    return _options(meant.hub_dir)


def _meant(configs: Sequence[Path] | None, context: str | None) -> Context | None:
    """The context, where it decides: a settings file is more than the current context, and less than one that is named."""
    if configs and context is None:
        return None
    return read_contexts(contexts_file(Path.home())).meant(context)


def _options(data_dir: Path) -> dict[str, str]:
    return {"data_dir": str(data_dir.absolute())}
