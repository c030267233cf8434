"""The simulation finds bugs: each of these is put into the shipped modules, and some seed must tell."""

from pathlib import Path

import pytest
from tests.simulation.bugs import BUGS, Bug
from tests.simulation.runs import run_one

MORE = 15

NAMES = [bug.name.replace(" ", "-") for bug in BUGS]


def is_found(bug: Bug, seed: int, directory: Path, templates: Path) -> bool:
    """Whether the run of the seed ends badly with the bug."""
    with pytest.MonkeyPatch.context() as patch:
        bug.put(patch)
        return bool(run_one(directory, templates, seed, bug.plan()).wrong)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("bug", BUGS, ids=NAMES)
def test_a_bug_is_found(bug: Bug, memory_dir: Path, templates: Path) -> None:
    """At the seed that found it last; a change of the sync gives seeds other runs, so some more are tried."""
    seeds = range(bug.seed, bug.seed + MORE)
    assert any(is_found(bug, seed, memory_dir, templates) for seed in seeds)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("bug", BUGS, ids=NAMES)
def test_a_bug_is_found_within_200_seeds(bug: Bug, memory_dir: Path, templates: Path) -> None:
    assert any(is_found(bug, seed, memory_dir, templates) for seed in range(1, 201))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("bug", BUGS, ids=NAMES)
def test_without_the_bug_nothing_is_found(bug: Bug, memory_dir: Path, templates: Path) -> None:
    for seed in {bug.seed, *range(1, 11)}:
        assert run_one(memory_dir, templates, seed, bug.plan()).wrong == []
