"""docs/reference/runtimes.md shows what tests/acceptance/test_one_spec.py runs."""

import re
from pathlib import Path

from tests.one_spec import NOT_RUN, RUNTIMES

ROOT = Path(__file__).parents[2]


def test_the_page_has_every_cell() -> None:
    suite = (ROOT / "tests/acceptance/test_one_spec.py").read_text()
    behaviours = re.findall(r"^async def test_(\w+)\(short_dir: Path, bench", suite, re.MULTILINE)
    assert len(behaviours) > 10
    wanted = ["| Behaviour | " + " | ".join(RUNTIMES) + " |", "|---" * (len(RUNTIMES) + 1) + "|"]
    for behaviour in behaviours:
        cells = [_cell(behaviour, runtime) for runtime in RUNTIMES]
        wanted.append(f"| {behaviour.replace('_', ' ')} | {' | '.join(cells)} |")
    assert "\n".join(wanted) in (ROOT / "docs/reference/runtimes.md").read_text()


def _cell(behaviour: str, runtime: str) -> str:
    reason = NOT_RUN.get((behaviour, runtime))
    return f"– {reason}" if reason else "run"
