"""docs/reference/wasm.md has the examples as they are and every exit code."""

import re
from pathlib import Path

import pytest

from skerry.core.specs import parse_workloads
from skerry.wire.wasm import REASONS, RunnerExit, explained
from skerry.wire.workload import Exit

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/wasm.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("language", "file"), [("wat", "follow.wat"), ("c", "double.c")])
def test_examples_are_the_files(language: str, file: str) -> None:
    head, _, rest = (ROOT / "examples/wasm" / file).read_text().partition("\n")
    assert head.startswith((";;", "/*"))
    assert block(language) == rest


def test_the_workload_is_accepted() -> None:
    assert parse_workloads(block("yaml"), "wasm.md")


def test_every_exit_code_is_told() -> None:
    rows = re.findall(r"^\| (2\d\d) \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert {int(code): reason for code, reason in rows} == {
        int(code): reason for code, reason in REASONS.items()
    }
    assert set(REASONS) == set(RunnerExit)


def test_a_modules_own_code_stays_as_it_is() -> None:
    assert explained(Exit(code=3)) == Exit(code=3)
    assert explained(Exit(signal=9)) == Exit(signal=9)
    assert explained(Exit(code=212)) == Exit(code=212, reason="out of fuel")
