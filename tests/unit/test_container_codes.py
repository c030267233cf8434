"""The exit code of a container that its engine may have started again before it was asked."""

from pathlib import Path

import pytest

from skerry.keeper.log_rules import LogRules
from skerry.node.workloads.runtimes.containers.answers import Container, State
from skerry.node.workloads.runtimes.containers.held import Held, code_of
from skerry.node.workloads.runtimes.containers.output import LogTarget


@pytest.mark.parametrize(
    ("state", "told", "code"),
    [
        (State("exited", exit_code=3), None, 3),
        (State("exited"), None, 0),
        (State("exited", exit_code=3), 4, 3),
        (State("restarting", exit_code=3), None, 3),
        (State("running", pid=2), 3, 3),
        (State("running", pid=2), None, None),
        (State("restarting"), None, None),
    ],
)
def test_zero_of_one_that_runs_again_is_no_exit_code(
    state: State, told: int | None, code: int | None
) -> None:
    held = Held("i-1", "w", LogTarget(Path("log"), LogRules(1, 1)), code=told)
    assert code_of(Container("c", state), held) == code
