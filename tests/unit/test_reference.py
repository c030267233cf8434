"""The reference pages of the command line and the settings name what there is, no more and no less."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from skerry.cli.commands import application
from skerry.core.config import Setting, variable_of, write_value
from skerry.hub import settings as hub
from skerry.node import settings as node

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
SHARED = {"--context", "--hub", "--token-file", "--data-dir", "--output", "--help"}


def commands(group: TyperGroup, words: str = "skerry") -> Iterator[tuple[str, set[str]]]:
    """Every command with its options, those left out that all commands for hub or node have."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{words} {name}")
        else:
            options = {
                word for each in command.params for word in each.opts if word.startswith("--")
            }
            yield f"{words} {name}", options - SHARED if "--context" in options else options - {"--help"}  # fmt: skip


def sections(text: str) -> dict[str, str]:
    """What stands below each heading of a command."""
    parts = re.split(r"^### `(.+)`$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def options_told(section: str) -> set[str]:
    told = re.search(r"Options: ([^.]*)\.", section, re.DOTALL)
    return set(re.findall(r"`(--[a-z-]+)`", told[1])) if told else set()


def test_every_command_and_its_options() -> None:
    group = get_command(application([]))
    assert isinstance(group, TyperGroup)
    there = dict(commands(group))
    told = sections((REFERENCE / "cli.md").read_text())
    assert told.keys() == there.keys()
    assert {name: options_told(text) for name, text in told.items()} == there


def row(setting: Setting, prefix: str) -> str:
    """A setting's line in the page."""
    kind = f"{setting.kind}, {setting.unit}" if setting.unit else setting.kind
    cells = (
        f"`{setting.path}`",
        kind,
        f"`{write_value(setting, setting.default)}`",
        f"`{variable_of(setting.path, prefix)}`",
        f"{setting.doc}{bounds(setting)}",
    )
    return f"| {' | '.join(cells)} |"


def bounds(setting: Setting) -> str:
    low, high = (
        None if bound is None else write_value(setting, _in_its_kind(setting, bound))
        for bound in (setting.low, setting.high)
    )
    if high is not None:
        return f" Between {low} and {high}."
    return "" if low is None else f" At least {low}."


def _in_its_kind(setting: Setting, bound: float) -> float:
    return float(bound) if setting.kind == "duration" else int(bound)


@pytest.mark.parametrize(
    ("title", "declared", "prefix"),
    [
        ("Node", node.declared(Path("~"), root=False, host="your-host"), node.PREFIX),
        ("Hub", hub.declared(Path("~"), root=False), hub.PREFIX),
    ],
)
def test_every_setting(title: str, declared: tuple[Setting, ...], prefix: str) -> None:
    text = (REFERENCE / "settings.md").read_text()
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [row(setting, prefix) for setting in declared]
