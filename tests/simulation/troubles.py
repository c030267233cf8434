"""What goes wrong with the machines of a run: kills, power cuts, full disks, clocks, copies that are put back, and clones.

After each, the oracle hears what can be known no more: only what no machine has any longer is excused.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.simulation.findings import own_rows
from tests.simulation.oracle import Identity, Place
from tests.simulation.sim_clock import YEAR
from tests.simulation.sim_node import SimNode

if TYPE_CHECKING:
    from tests.simulation.world import World


_TAKING_BACK = frozenset({"power node", "restore node", "clone"})


@dataclass
class Copy:
    """A copy of a machine's disk, and what had been accepted when it was made."""

    path: Path
    records: set[Identity] = field(default_factory=set)
    edits: set[str] = field(default_factory=set)
    owned: dict[Place, str | None] = field(default_factory=dict)


class Troubles:
    """Each of them happens now; what has an end ends by itself some time later."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._copies: dict[str, Copy] = {}
        self._clones = 0
        self.kinds: Mapping[str, Callable[[], bool]] = {
            "apart": self._apart,
            "kill node": self._kill_node,
            "stop node": self._stop_node,
            "power node": self._power_node,
            "kill hub": self._kill_hub,
            "power hub": self._power_hub,
            "full disk": self._full_disk,
            "full disk of the hub": self._full_disk_of_the_hub,
            "clock of a node": self._clock_of_a_node,
            "clock of the hub": self._clock_of_the_hub,
            "restore node": self._restore_node,
            "restore hub": self._restore_hub,
            "clone": self._clone,
        }

    def one(self, kind: str) -> None:
        """Makes it happen, where it can happen now."""
        if self.kinds[kind]():
            self._world.seen[f"trouble: {kind}"] += 1
            self._world.note(kind)

    def _node(self) -> SimNode | None:
        up = [node for node in self._world.nodes if node.is_up]
        return self._chance.choice(up) if up else None

    def _later(self, seconds: float, end: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self._chance.uniform(0.0, seconds), end)

    def _apart(self) -> bool:
        name = self._chance.choice(self._world.nodes).name
        self._world.weather.apart.add(name)
        self._later(60.0, lambda: self._world.weather.apart.discard(name))
        life = self._world.hub.life
        if life is not None:
            node = next(each for each in self._world.nodes if each.name == name)
            life.cut_link(node.id)
        return True

    def _kill_node(self) -> bool:
        node = self._node()
        if node is None or node.life is None:
            return False
        node.life.kill()
        return True

    def _stop_node(self) -> bool:
        node = self._node()
        if node is None or node.life is None:
            return False
        node.life.stop()
        return True

    def _power_node(self) -> bool:
        node = self._node()
        if node is None:
            return False
        node.storage.volume.cut_after(self._chance.randint(1, self._chance.choice((3, 20, 60))))
        return True

    def _kill_hub(self) -> bool:
        hub = self._world.hub
        if not hub.is_up or hub.life is None:
            return False
        hub.life.kill()
        return True

    def _power_hub(self) -> bool:
        hub = self._world.hub
        if not hub.is_up:
            return False
        hub.storage.volume.cut_after(self._chance.randint(1, self._chance.choice((3, 20, 60))))
        return True

    def _full_disk(self) -> bool:
        node = self._node()
        if node is None:
            return False
        node.fill(full=True)
        self._later(30.0, lambda: node.fill(full=False))
        return True

    def _full_disk_of_the_hub(self) -> bool:
        hub = self._world.hub
        if not hub.is_up:
            return False
        hub.fill(full=True)
        self._later(30.0, lambda: hub.fill(full=False))
        return True

    def _clock_of_a_node(self) -> bool:
        return self._jump(self._chance.choice(self._world.nodes).name)

    def _clock_of_the_hub(self) -> bool:
        """A hub takes no clock beyond its own: what nodes tell it again after a restore may count as too old."""
        oracle = self._world.oracle
        if "hub" in oracle.put_back:
            oracle.unsure |= oracle.owned.keys()
        return self._jump("hub")

    def _jump(self, name: str) -> bool:
        machines = [self._world.hub, *self._world.nodes]
        clock = next(each.clock for each in machines if each.name == name)
        if self._chance.random() < 0.3:
            clock.set_right()
        else:
            clock.jump_wall(self._chance.choice((YEAR, -YEAR, 90.0, -90.0, -20.0)))
        return True

    def _restore_node(self) -> bool:
        """Puts a copy back where there is one, else makes one."""
        node = self._node()
        hub = self._world.hub
        if node is None or node.life is None or not hub.is_up:
            return False
        copy = self._copies.pop(node.name, None)
        if copy is None:
            self._copies[node.name] = self._copy_of(node)
            return False
        oracle, at_hub = self._world.oracle, self._world.peek_hub()
        here = {identity for identity, _ in at_hub.records}
        lost = self._accepted(node.name) - copy.records
        oracle.orphans |= lost
        oracle.excused |= lost - here
        oracle.forget_edits(
            lambda edit: edit.node == node.name and edit.token not in copy.edits,
            at_hub,
            undone=True,
        )
        # Where the first whom the hub hears is right, its next edit loses to one that the copy had not sent yet.
        oracle.unsure |= {
            place
            for place, value in oracle.owned.items()
            if place[1].startswith(f"own.{node.name}.")
            and (place[0] in {"central", "manual"} or copy.owned.get(place, "") != value)
        }
        oracle.put_back.add(node.name)
        node.next_copy = copy.path
        node.life.kill()
        return True

    def _restore_hub(self) -> bool:
        hub = self._world.hub
        if not hub.is_up or hub.life is None:
            return False
        copy = self._copies.pop("hub", None)
        if copy is None:
            self._copies["hub"] = Copy(hub.storage.copy("copy"))
            return False
        oracle, then = self._world.oracle, self._world.peek_hub(copy.path)
        oracle.excused |= oracle.orphans - {identity for identity, _ in then.records}
        now, held = self._world.peek_hub().texts(), self._held_for_good()
        oracle.forget_edits(
            lambda edit: (
                any(edit.token in text for text in now)
                and not any(edit.token in text for text in held)
            ),
            then,
        )
        # What was deleted may be back, and where the first whom the hub hears is right, another may have told it the row.
        oracle.unsure |= {
            place
            for place, value in oracle.owned.items()
            if value is None or place[0] in {"central", "manual"} or not hub.clock.is_right
        }
        oracle.put_back.add("hub")
        hub.next_copy = copy.path
        hub.life.kill()
        return True

    def _held_for_good(self) -> list[str]:
        """The rows of one writer that nodes show, where nothing takes them back: a hub that has lost them is to get them.

        What came from the hub may go in a power cut, and comes from the hub again then. A row of many writers may have
        been edited again at the hub before a node tells it the older version.
        """
        if not _TAKING_BACK.isdisjoint(self._world.plan.faults):
            return []
        up = [node for node in self._world.nodes if node.is_up]
        return [
            text
            for node in up
            for place, text in own_rows(node).items()
            if place[1].startswith("own.")
        ]

    def _clone(self) -> bool:
        node = self._node()
        if node is None or self._clones:
            return False
        self._clones += 1
        copy = node.storage.copy("clone")
        oracle = self._world.oracle
        # What it had not sent its copy may send first, on which nothing of its own is made then, or even if it takes it back.
        at_hub = self._world.peek_hub().rows if self._world.hub.is_up else None
        oracle.unsure |= {
            place
            for place, value in oracle.owned.items()
            if place[1].startswith(f"own.{node.name}.")
            and (
                place[0] in {"central", "manual"}
                or at_hub is None
                or (value is None) != (place not in at_hub)
                or (value is not None and value not in at_hub[place])
            )
        }
        oracle.put_back.add(node.name)
        self._world.add_clone(node, copy)
        return True

    def _copy_of(self, node: SimNode) -> Copy:
        oracle = self._world.oracle
        return Copy(
            node.storage.copy("copy"),
            self._accepted(node.name),
            {edit.token for edit in oracle.edits.values() if edit.accepted},
            dict(oracle.owned),
        )

    def _accepted(self, name: str) -> set[Identity]:
        return {
            identity
            for written in self._world.oracle.records
            if written.node == name and written.accepted
            for identity in written.values
        }


KINDS = (
    "apart", "kill node", "stop node", "power node", "kill hub", "power hub", "full disk", "full disk of the hub", "clock of a node",
    "clock of the hub", "restore node", "restore hub", "clone",
)  # fmt: skip
