"""What a node does about an order, as its store has it after any crash."""

from __future__ import annotations

import pytest

from skerry.core.order_steps import DRAINING, RESTARTING, Step, step_of
from skerry.wire.devices import Action, Command, Outcome

NOW = 1000


def order(action: Action) -> Command:
    return Command("o", action, 1, NOW, "ann")


@pytest.mark.parametrize(
    ("action", "told", "at", "step"),
    [
        ("restart", None, NOW, "begin"),
        ("twin_command", Outcome("o", "started", 5), NOW, "give up"),
        ("twin_navigate", Outcome("o", "started", 5), NOW, "give up"),
        ("run_workflow", Outcome("o", "started", 5), NOW, "give up"),
        ("cancel_workflow", Outcome("o", "started", 5), NOW, "begin"),
        ("restart_edge_core", Outcome("o", "started", 5), NOW + 9, "begin"),
        ("restart", None, NOW + 1, "expire"),
        ("decommission", None, NOW + 1, "expire"),
        ("restart", Outcome("o", "started", 5, step=DRAINING), NOW, "give up"),
        ("restart", Outcome("o", "started", 5, step=RESTARTING), NOW + 9, "finish"),
        ("decommission", Outcome("o", "started", 5, step=DRAINING), NOW + 9, "begin"),
        ("restart", Outcome("o", "done", 5), NOW, "nothing"),
        ("restart", Outcome("o", "unknown", 5), NOW, "nothing"),
        ("decommission", Outcome("o", "done", 5), NOW, "nothing"),
    ],
)
def test_what_is_done_about_an_order(
    action: Action, told: Outcome | None, at: int, step: Step
) -> None:
    assert step_of(order(action), told, at) == step
