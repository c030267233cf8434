"""Which agent processes speak as which node: pure, in memory. `fleet.nodes` asks it whether a node has a double.

Every agent process names itself by a random id, its run. A node that starts anew is another run and the one
before is never heard again, even where its half-open link still stands. Runs that take turns are two agents
with one identity, as when a data directory was copied and started beside the original.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from skerry.kit.clock import NS

WINDOW = 120 * NS
"""Two agents take turns at least every 20 s (the link's pings), so silence of this length ends an episode."""

RETURNS = 3
"""How often an older run must come back within WINDOW; once may be a request that was late on its way."""

_RUNS_KEPT = 8
"""Of a node that starts again and again only the newest runs are remembered."""


@dataclass(frozen=True)
class Agent:
    """An agent process. `place` says where it runs, for people."""

    run: str
    place: str


@dataclass
class _Runs:
    """The runs of one node."""

    known: dict[str, Agent] = field(default_factory=dict)
    """By run, in the order of their first appearance."""
    speaking: Agent | None = None
    turning: tuple[Agent, ...] = ()
    """The agents of the last return: who had spoken before, and who came back."""
    returns: deque[int] = field(default_factory=lambda: deque(maxlen=RETURNS))
    doubled_at: int | None = None

    def heard(self, agent: Agent, now: int) -> bool:
        agent = self.known.setdefault(agent.run, agent)
        if len(self.known) > _RUNS_KEPT:
            del self.known[next(iter(self.known))]
        before, self.speaking = self.speaking, agent
        is_newest = agent.run == next(reversed(self.known))
        if before is None or before is agent or is_newest:
            return False
        self.turning = (before, agent)
        return self._returned(now)

    def _returned(self, now: int) -> bool:
        self.returns.append(now)
        was_doubled = self.is_doubled(now)
        if was_doubled or (len(self.returns) == RETURNS and now - self.returns[0] <= WINDOW):
            self.doubled_at = now
            return not was_doubled
        return False

    def is_doubled(self, now: int) -> bool:
        return self.doubled_at is not None and now - self.doubled_at <= WINDOW


class Agents:
    """Takes note of every sign of life that says which run it is from. Times are monotonic, in ns."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Runs] = {}

    def heard(self, node_id: str, agent: Agent, now: int) -> bool:
        """Something came from `agent`. True when it shows for the first time that the node has a double."""
        return self._nodes.setdefault(node_id, _Runs()).heard(agent, now)

    def doubles(self, node_id: str, now: int) -> Sequence[Agent]:
        """The agents that take turns as this node; empty while there is only one."""
        held = self._nodes.get(node_id)
        if held is None or not held.is_doubled(now):
            return ()
        return held.turning

    def forget(self, node_id: str) -> None:
        """The node is no longer one."""
        self._nodes.pop(node_id, None)
