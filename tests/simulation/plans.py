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

PROMPT = 120.0
"""Virtual seconds in which all are in step where nothing was refused: before the next pull that nobody rings for."""

BEHIND = 20.0
"""Seconds by which a clock may be slow without being wrong: others' time is taken over."""

_PARKING = frozenset({"refused", "garbled request", "garbled answer", "other answer", "late"})
"""Lies after which a node waits before it asks again, or that come after the weather has cleared up."""

_MOST_LIES = 0.6
"""Share of calls that go wrong at most: some must get through."""


def plan_of(seed: int) -> Plan:
    """The plan of a seed of the set."""
    chance = random.Random(seed * 7919 + 1)
    faults = tuple(chance.sample(TROUBLES, chance.choice((0, 1, 2, 4, 8))))
    rates = _rates(chance)
    plain = [name for name in ENTITIES if name != "merged"]
    entities = chance.sample(plain, chance.choice((1, 1, 2))) + chance.choice(([], ["merged"]))
    return Plan(
        nodes=chance.choice((4, 8) if seed % 50 == 0 else (2, 2, 2, 3)),
        steps=chance.choice((20, 30, 40)),
        pace=chance.choice((0.1, 0.3, 1.0, 3.0)),
        faults=faults,
        trouble=chance.choice((0.1, 0.2, 0.4)),
        rates=rates,
        entities=tuple(entities),
        behind=BEHIND if seed % 4 == 0 else 0.0,
        patience=PROMPT
        if set(faults) <= set(WITHOUT_COPIES) and _PARKING.isdisjoint(rates)
        else 3600.0,
    )


def _rates(chance: random.Random) -> dict[str, float]:
    kinds = chance.sample(LIES, chance.choice((0, 1, 3, 6)))
    rates = {kind: chance.choice((0.02, 0.1, 0.2)) for kind in kinds}
    share = sum(rates.values())
    if share > _MOST_LIES:
        rates = {kind: rate * _MOST_LIES / share for kind, rate in rates.items()}
    return rates


SHORT = (1, 2, 8, 11, *range(12, 30))
"""The seeds of every test run, up to the one with which every kind has occurred."""

FEWEST = 4
"""Of these seeds."""


def rough_plan(seed: int) -> Plan:
    """A little of everything, in which each kind of fault comes soon: for the short set."""
    chance = random.Random(seed)
    tamed = {"late": 0.02, "refused": 0.01}
    return Plan(
        nodes=2 + seed % 2,
        steps=40,
        pace=0.5,
        faults=TROUBLES if seed % 3 else WITHOUT_COPIES,
        trouble=0.5,
        rates={kind: tamed.get(kind, 0.03) for kind in LIES},
        entities=("merged", "manual", chance.choice(("newest", "central", "edge"))),
    )
