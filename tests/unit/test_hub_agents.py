"""Two agents with one identity are told from one that starts anew, loses its link or is late."""

import pytest

from skerry.hub.fleet.agents import RETURNS, WINDOW, Agent, Agents
from skerry.kit.clock import NS


def play(runs: str, *, step: int = NS, agents: Agents | None = None, start: int = 0) -> list[bool]:
    """What `heard` answers when the runs speak one after the other, every `step` ns."""
    agents = agents or Agents()
    return [
        agents.heard("n1", Agent(run, f"host of {run}"), start + index * step)
        for index, run in enumerate(runs)
    ]


@pytest.mark.parametrize(
    "runs",
    ["AAAAAA", "ABCDEFGHIJKLMN", "AAABBB", "ABAB", "ABABBBBBBB", "AB" + "A" * 20, "ABCBCDDDD"],
)
def test_one_agent_that_starts_anew_or_is_late_is_no_double(runs: str) -> None:
    agents = Agents()
    assert not any(play(runs, agents=agents))
    assert not agents.doubles("n1", len(runs) * NS)


@pytest.mark.parametrize("runs", ["ABABABAB", "AABBAABBAABBAA", "BACACACA"])
def test_agents_that_take_turns_are_doubles_and_said_once(runs: str) -> None:
    agents = Agents()
    assert play(runs, agents=agents).count(True) == 1
    names = {each.place for each in agents.doubles("n1", len(runs) * NS)}
    assert names == {f"host of {run}" for run in set(runs[-4:])}
    assert not agents.doubles("n2", 0)


def test_turns_that_lie_far_apart_prove_nothing() -> None:
    assert not any(play("ABABABABABAB", step=WINDOW // RETURNS))


def test_an_episode_ends_with_the_turns_and_the_next_one_is_said_again() -> None:
    agents = Agents()
    assert any(play("ABABABA", agents=agents))
    later = 7 * NS + WINDOW
    assert not agents.doubles("n1", later)
    assert not any(play("BBBBBB", agents=agents, start=later))
    assert play("ABABABAB", agents=agents, start=later + WINDOW).count(True) == 1


def test_a_forgotten_node_has_no_past() -> None:
    agents = Agents()
    play("ABABABA", agents=agents)
    agents.forget("n1")
    assert not agents.doubles("n1", 7 * NS)
