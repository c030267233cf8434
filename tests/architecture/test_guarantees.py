"""docs/guarantees.md and the tests' marks say the same."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def promised() -> dict[str, str]:
    rows = re.findall(
        r"^\| (G\d+) \| .+ \| (cited|in part: .*|not yet: .*) \|$",
        (ROOT / "docs/guarantees.md").read_text(),
        re.MULTILINE,
    )
    return dict(rows)


def cited() -> set[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return {
        name
        for file in files
        for name in re.findall(r'mark\.guarantee\("(G\d+)"\)', file.read_text())
    }


def test_every_cited_line_has_a_test() -> None:
    assert {
        name for name, state in promised().items() if not state.startswith("not yet")
    } - cited() == set()


def test_every_mark_names_a_cited_line() -> None:
    assert (
        cited() - {name for name, state in promised().items() if not state.startswith("not yet")}
        == set()
    )
