"""Every attack that SECURITY.md says is tried has a test of that name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[a-z_/]+\.py)(?:::(\w+))?`", (ROOT / "SECURITY.md").read_text())


def test_attacks_are_named() -> None:
    assert len(NAMED) > 20


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_an_attack_is_tried(file: str, name: str) -> None:
    text = (ROOT / file).read_text()
    assert not name or re.search(rf"def {name}\(", text)
