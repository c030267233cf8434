"""What workloads and people do on one node: records, edits of rows, statuses. Each is told to the oracle as it was answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

from tests.simulation.oracle import Edit, Oracle, Place, Written
from tests.simulation.sim_node import NodeLife, SimNode

from skerry.kit.errors import NotFound, Refused, SkerryError
from skerry.wire.shared import Declaration
from skerry.wire.sync import RECORD_LANES
from skerry.wire.workload import Generation, WorkloadStatus

ENTITIES: dict[str, Declaration] = {
    "newest": Declaration("last_modified"),
    "central": Declaration("central_wins", priority="low"),
    "edge": Declaration("edge_wins", priority="high", batch_size=2),
    "merged": Declaration("merge", fields={"n": "sum", "tags": "union"}, priority="high"),
    "manual": Declaration("manual"),
}
SHARED_ROWS = ("a", "b", "c")
LONG = "x" * 1500
"""Makes a body so large that edits of it travel as patches."""


class Deeds:
    """Everything that happens on nodes because somebody wants it."""

    def __init__(
        self,
        oracle: Oracle,
        chance: random.Random,
        seen: Counter[str],
        entities: Sequence[str],
        only: Sequence[str],
    ) -> None:
        self._plain = [name for name in entities if name != "merged"]
        self._oracle = oracle
        self._chance = chance
        self._seen = seen
        self._number = 0
        self._kinds: list[Callable[[SimNode, NodeLife], Awaitable[None]]] = [
            self._publish, self._publish, self._edit, self._edit, self._edit, self._edit, self._merge, self._merge,
            self._own, self._own, self._delete, self._report, self._settle,
        ]  # fmt: skip
        if "merged" not in entities:
            self._kinds = [kind for kind in self._kinds if kind != self._merge]
        if only:
            self._kinds = [kind for kind in self._kinds if kind.__name__[1:] in only]

    async def one(self, node: SimNode) -> None:
        """Something, on a node that is up."""
        life = node.life
        assert life is not None
        kind = self._chance.choice(self._kinds)
        try:
            await kind(node, life)
        except (SkerryError, OSError) as error:
            self._seen[f"refused: {type(error).__name__}"] += 1
        else:
            self._seen[f"done: {kind.__name__[1:]}"] += 1

    def _token(self) -> str:
        self._number += 1
        return f"t{self._number}."

    async def _publish(self, node: SimNode, life: NodeLife) -> None:
        lane = self._chance.choice(RECORD_LANES)
        values = [self._token() for _ in range(self._chance.choice((1, 3, 20)))]
        first = life.counter
        written = Written(
            node.name, {(life.session, first + n): value for n, value in enumerate(values)}
        )
        self._oracle.records.append(written)
        await life.publish(lane, values)
        written.accepted = not life.is_dead

    async def _edit(self, node: SimNode, life: NodeLife) -> None:
        entity = self._chance.choice(self._plain)
        await self._put(node, life, (entity, self._chance.choice(SHARED_ROWS)))

    async def _own(self, node: SimNode, life: NodeLife) -> None:
        """Of a row that only this node writes."""
        entity = self._chance.choice(self._plain)
        place = (entity, f"own.{node.name}.{self._chance.randrange(3)}")
        before = place in self._oracle.unsure
        self._oracle.unsure.add(place)
        if self._chance.random() < 0.3:
            await self._drop(node, life, place)
            expected = None
        else:
            expected = await self._put(node, life, place)
        if not life.is_dead:
            self._oracle.owned[place] = expected
            if not before:
                self._oracle.unsure.discard(place)

    async def _put(
        self, node: SimNode, life: NodeLife, place: Place, *, settles: bool = False
    ) -> str:
        token = self._token()
        read = await life.program.get(*place)
        edit = self._oracle.edits[token] = Edit(node.name, place, token, at=_now())
        if read is not None:
            edit.answers_for = frozenset(_tokens(json.loads(bytes(read.body))))
        body = json.dumps({"t": token, "pad": LONG if place[1] == "c" else ""}).encode()
        with self._made(edit):
            if settles:
                await life.program.settle(*place, body, 0 if read is None else read.revision)
            else:
                await life.program.edit(*place, read, body)
        edit.accepted = not life.is_dead
        return token

    @contextlib.contextmanager
    def _made(self, edit: Edit) -> Iterator[None]:
        """An edit that is refused was never made."""
        try:
            yield
        except (Refused, NotFound):
            del self._oracle.edits[edit.token]
            self._oracle.may_add[edit.place] -= edit.field == "n"
            raise

    async def _merge(self, node: SimNode, life: NodeLife) -> None:
        """Of one field of a row that is merged."""
        place = ("merged", self._chance.choice(SHARED_ROWS))
        token = self._token()
        what = self._chance.choice(("f0", "f1", "n", "tags"))
        read = await life.program.get(*place)
        edit = self._oracle.edits[token] = Edit(node.name, place, token, at=_now(), field=what)
        body = (
            {"pad": LONG if place[1] == "c" else ""}
            if read is None
            else json.loads(bytes(read.body))
        )
        if what == "n":
            body["n"] = body.get("n", 0) + 1
            edit.silent = True
            self._oracle.may_add[place] += 1
        elif what == "tags":
            body["tags"] = [*body.get("tags", []), token]
        else:
            edit.answers_for = frozenset({body[what]} if what in body else ())
            body[what] = token
        with self._made(edit):
            await life.program.edit(*place, read, json.dumps(body).encode())
        if not life.is_dead:
            edit.accepted = True
            self._oracle.added[place] += what == "n"

    async def _delete(self, node: SimNode, life: NodeLife) -> None:
        place = (
            self._chance.choice(self._plain),
            self._chance.choice(SHARED_ROWS),
        )
        await self._drop(node, life, place)

    async def _drop(self, node: SimNode, life: NodeLife, place: Place) -> None:
        held = await life.program.get(*place)
        if held is None:
            return
        token = self._token()
        edit = Edit(node.name, place, token, frozenset(_tokens(json.loads(bytes(held.body)))))
        edit.silent = True
        self._oracle.deleted.add(place)
        self._oracle.edits[token] = edit
        with self._made(edit):
            await life.program.delete(*place, held.revision)
        edit.accepted = not life.is_dead

    async def _report(self, _: SimNode, life: NodeLife) -> None:
        if self._oracle.put_back:
            return
        name = f"w{self._chance.randrange(3)}"
        self._number += 1
        await life.report(name, status_body(name, self._number))

    async def _settle(self, node: SimNode, life: NodeLife) -> None:
        """A person decides about a conflict, where there is one."""
        conflicts = await life.frames.conflicts("manual")
        if conflicts and "manual" in self._plain:
            await self._put(node, life, ("manual", conflicts[0].id), settles=True)
            self._seen["conflict: settled"] += 1


def status_body(name: str, n: int) -> WorkloadStatus:
    """A status that no other is like."""
    return WorkloadStatus(workload=name, generation=Generation(1, n), phase="running", since=n)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _tokens(body: dict[str, object]) -> list[str]:
    return [value for key, value in body.items() if key != "pad" and isinstance(value, str)]
