"""What a seed stands for: how many nodes, which entities, how bad the network is, and what happens to the machines.

Each seed has only some kinds of faults, and those often: a run with a little of everything finds less (swarm testing).
"""

from __future__ import annotations

import random

from tests.simulation.deeds import ENTITIES
from tests.simulation.network import KINDS as LIES
from tests.simulation.troubles import KINDS as TROUBLES
from tests.simulation.world import Plan

WITHOUT_COPIES = tuple(
    kind for kind in TROUBLES if kind not in {"restore node", "restore hub", "clone"}
)
"""With these alone the oracle excuses nothing."""

_MOST_LIES = 0.6
"""Share of calls that go wrong at most: some must get through."""


def plan_of(seed: int) -> Plan:
    """The plan of a seed of the set."""
    chance = random.Random(seed * 7919 + 1)
    entities = chance.sample(tuple(ENTITIES), 3)
    return Plan(
        nodes=chance.choice((2, 2, 2, 3, 3, 4, 8) if seed % 10 == 0 else (2, 2, 3)),
        steps=chance.choice((40, 60, 80)),
        pace=chance.choice((0.3, 2.0, 2.0, 10.0)),
        faults=tuple(chance.sample(TROUBLES, chance.choice((0, 1, 2, 4, 8)))),
        trouble=chance.choice((0.1, 0.2, 0.3)),
        rates=_rates(chance),
        entities=tuple(entities),
    )


def _rates(chance: random.Random) -> dict[str, float]:
    kinds = chance.sample(LIES, chance.choice((0, 1, 3, 6)))
    rates = {kind: chance.choice((0.02, 0.1, 0.2)) for kind in kinds}
    share = sum(rates.values())
    if share > _MOST_LIES:
        rates = {kind: rate * _MOST_LIES / share for kind, rate in rates.items()}
    return rates


SHORT = range(1, 5)
"""The seeds of every test run."""


def rough_plan(seed: int) -> Plan:
    """A little of everything, in which each kind of fault comes soon: for the short set."""
    chance = random.Random(seed)
    tamed = {"late": 0.02, "refused": 0.01}
    return Plan(
        nodes=2 + seed % 2,
        steps=70,
        pace=1.0,
        faults=TROUBLES if seed % 3 else WITHOUT_COPIES,
        trouble=0.4,
        rates={kind: tamed.get(kind, 0.03) for kind in LIES},
        entities=("merged", "manual", chance.choice(("newest", "central", "edge"))),
    )
