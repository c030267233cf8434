"""The reference pages of the command line and the settings name what there is, no more and no less."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from skerry.cli.commands import application
from skerry.core.agent_file import AGENT
from skerry.core.config import variable_of
from skerry.core.documented import documented
from skerry.core.features import WORKFLOWS
from skerry.core.setting_values import Setting, write_value
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
    return float(bound) if setting.kind in {"duration", "number"} else int(bound)


OF_AGENTS = tuple(replace(setting, feature=WORKFLOWS) for setting in AGENT)
DOCUMENTED = {setting.path for setting in documented("node")}


@pytest.mark.parametrize(
    ("title", "declared", "prefix"),
    [
        ("Node", node.declared(Path("~"), root=False, host="your-host"), node.PREFIX),
        ("Hub", hub.declared(Path("~"), root=False), hub.PREFIX),
    ],
)
def test_every_setting(title: str, declared: tuple[Setting, ...], prefix: str) -> None:
    own = [setting for setting in declared if setting.path not in DOCUMENTED]
    assert rows_below(f"## {title}") == [row(setting, prefix) for setting in own]


def rows_below(heading: str) -> list[str]:
    text = (REFERENCE / "settings.md").read_text()
    section = text.partition(f"{heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def documented_rows(settings: tuple[Setting, ...]) -> list[str]:
    """The lines of documented names, each field of a list below its list."""
    found = []
    for setting in settings:
        found.append(documented_row(setting.path, setting))
        found += [
            documented_row(f"{setting.path}[].{each.path}", replace(each, feature=setting.feature))
            for each in setting.fields
        ]
    return found


def documented_row(path: str, setting: Setting) -> str:
    kind = f"{setting.kind}, {setting.unit}" if setting.unit else setting.kind
    words = f" One of {', '.join(setting.words)}." if setting.words else ""
    general = f" Where it is not given, `{setting.general}` holds." if setting.general else ""
    cells = (
        f"`{path}`",
        kind,
        f"`{write_value(setting, setting.default)}`",
        built(setting),
        f"{setting.doc}{words}{bounds(setting)}{general}",
    )
    return f"| {' | '.join(cells)} |"


def built(setting: Setting) -> str:
    feature = setting.feature
    if feature is None or feature.built:
        return "yes"
    if setting.asks is not None and not feature.protects:
        told = next(word for word in (*setting.words, False) if setting.asks(word))
        return f"not `{write_value(setting, told)}`"
    stops = feature.protects and (setting.kind == "boolean" or setting.asks is not None)
    return "no, stops the start" if stops else "no"


def test_every_documented_name() -> None:
    assert rows_below("## Documented names") == documented_rows(documented("node"))
    assert rows_below("## An agent's file") == documented_rows(OF_AGENTS)
