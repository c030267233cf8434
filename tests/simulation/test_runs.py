"""A hub and its nodes with the shipped stores and sync on virtual time: nothing is lost, doubled, diverged or stuck."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.simulation.plans import FEWEST, SHORT, plan_of, rough_plan
from tests.simulation.runs import Report, run_all, run_one


@pytest.fixture(scope="module")
def short_set(templates: Path) -> Report:
    return run_all(
        templates / "short",
        templates,
        SHORT,
        rough_plan,
        until=lambda report: len(report.traces) >= FEWEST and not report.never,
    )


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(120)
def test_nothing_is_lost_doubled_diverged_or_stuck(short_set: Report) -> None:
    assert short_set.wrong == {}, str(short_set)


@pytest.mark.timeout(120)
def test_every_kind_of_fault_and_of_conflict_has_occurred(short_set: Report) -> None:
    assert short_set.never == [], str(short_set)


@pytest.mark.timeout(120)
def test_a_seed_alone_replays_its_run(short_set: Report, memory_dir: Path, templates: Path) -> None:
    seed = SHORT[0]
    again = run_one(memory_dir, templates, seed, rough_plan(seed))
    assert again.trace == short_set.traces[seed]
    assert len(set(short_set.traces.values())) == len(short_set.traces)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_seed_replays_its_run_in_another_process_with_other_hashes() -> None:
    def trace(hashes: str) -> str:
        command = [sys.executable, "-m", "tests.simulation", "--seeds", "3"]
        told = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hashes}, capture_output=True, check=False, text=True
        )  # fmt: skip
        return told.stdout.partition("trace: ")[2]

    assert trace("1") == trace("2") != ""


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(1, 10_001, 250))
def test_ten_thousand_seeds(memory_dir: Path, templates: Path, first: int) -> None:
    report: Report = run_all(memory_dir, templates, range(first, first + 250), plan_of)
    sys.stdout.write(f"{report}\n")
    assert report.wrong == {}, str(report)
    assert report.never == [], str(report)
