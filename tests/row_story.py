"""What a hub and a node that share rows live through, with a power cut at one moment of it, and whether all of it is true.

The story is told once without a cut. With one, the step in which the power failed is made again after the start, as
whoever got no answer does; then it goes on. It must end as it did without.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from tests.row_checks import (
    Dump,
    Version,
    frames_fit,
    hub_digests,
    hub_dump,
    hub_fits,
    node_dump,
    node_fits,
    unfrozen,
    versions,
)
from tests.row_cuts import Moment, Site, Templates

from skerry.hub.store.shared_pruning import prune
from skerry.hub.store.shared_tables import shared_conflict, shared_version
from skerry.kit.errors import NotFound, Transient
from skerry.wire.entities import Change, Changes, Declare, Find, Reading
from skerry.wire.rows import Resolve, RowPut
from skerry.wire.shared import Declaration

ENTITIES = {
    "stock": Declaration(strategy="merge", fields={"n": "sum"}, priority="high"),
    "recipe": Declaration(strategy="manual"),
    "card": Declaration(priority="low"),
}
LONG = "x" * 1200
"""Makes a body one that is sent as a patch."""

NEVER_LONG_AGO = 1 << 62
"""Everything is older."""


class Step(msgspec.Struct, frozen=True):
    """`on_node`: after it all that was before is on the node's disk. Else a cut may take that back, and the hub knows it."""

    name: str
    work: Callable[[], Awaitable[object]]
    on_node: bool = False


class Seen(msgspec.Struct, frozen=True):
    """Both after a step, and the operations of the fragile disk in it."""

    step: Step
    node: Dump
    hub: Dump
    history: list[Version]
    span: range


class Ending(msgspec.Struct, frozen=True):
    """What must be the same with and without a cut. `history` has the edits that the node put together, too."""

    rows: Dump
    history: list[Version]
    waiting: list[Version]


class Told(msgspec.Struct, frozen=True):
    """The story without a cut: how it went and ended, and how many operations of the fragile disk it took."""

    seen: list[Seen]
    ending: Ending
    operations: int

    def middle_of(self, name: str) -> int:
        """An operation in that step."""
        (span,) = [each.span for each in self.seen if each.step.name == name]
        assert span
        return span[len(span) // 2] + 1 - self.seen[0].span.start

    def on_node(self, number: int) -> list[Dump]:
        """What the node may say after a cut in that step: what was before it, as far as it was on the disk, or came of it."""
        first = number - 1
        while first > 0 and not self.seen[first].step.on_node:
            first -= 1
        before = [] if number else [Dump()]
        return before + [each.node for each in self.seen[max(first, 0) : number + 1]]

    def at_hub(self, number: int) -> list[Dump]:
        """The same for the hub, which answers when it is on the disk."""
        before = [] if number else [Dump()]
        return before + [each.hub for each in self.seen[max(number - 1, 0) : number + 1]]

    def within(self, number: int, key: tuple[str, str]) -> list[bytes]:
        """What a row may have been at the hub in the midst of that step, which pushes several units."""
        was = [each.hub.get(key) for each in self.seen[:number]]
        history = self.seen[number].history
        kept = [body for entity, row_id, _, body, _ in history if (entity, row_id) == key]
        return [body for body in kept if body not in was]


class Story:
    """The steps; `seen` is what there was after each."""

    def __init__(self, site: Site, copy: Path, told: Told | None = None) -> None:
        self._site = site
        self._copy = copy
        self._told = told
        self._again = False
        self._together: set[Version] = set()
        self.seen: list[Seen] = []
        self._steps = [*self._beginning(), *self._meeting(), *self._ending()]

    def _beginning(self) -> list[Step]:
        at_node = self._at_node
        stock = at_node("stock", s1={"n": 1}, s2={"n": 5, "a": 1})
        recipes = at_node("recipe", r1={"v": 1}, r2={"v": 1}, r3={"v": 1})
        cards = at_node("card", c1={"t": LONG, "v": 1}, c2={"v": 1}, c3={"v": 1})
        return [
            Step("declare", self._declare, on_node=True),
            Step("stock", stock, on_node=True),
            Step("recipes", recipes, on_node=True),
            Step("cards", cards, on_node=True),
            Step("first push", self._site.push),
            Step("first pull", self._site.round),
        ]

    def _meeting(self) -> list[Step]:
        """Both edit the same rows, and some of that is decided by people."""
        site, at_node, at_hub = self._site, self._at_node, self._at_hub
        stock = at_node("stock", s1={"n": 4}, s2={"n": 6, "a": 2})
        recipes = at_node("recipe", r1={"v": "node"}, r2={"v": "node"})
        cards = at_node("card", c1={"t": LONG, "v": 2}, c2=None, c6={"v": 6})
        more = at_node("stock", s1={"n": 6}, s2={"n": 6, "a": 3})
        patch = at_node("card", c1={"t": LONG, "v": 2, "w": 1})
        return [
            Step("person", at_hub("stock", s1={"n": 11}, s3={"n": 7}, s4={"n": 1}, s5={"n": 1})),
            Step("person of recipes", at_hub("recipe", r1={"v": "hub"}, r2={"v": "hub"})),
            Step("person of cards", at_hub("card", c1={"t": LONG, "v": "hub"}, c5={"v": 5})),
            Step("person deletes", self._delete_at_hub),
            Step("edit", stock, on_node=True),
            Step("edit against a person", recipes, on_node=True),
            Step("edit and delete", cards, on_node=True),
            Step("person is later", at_hub("card", c6={"v": "hub"})),
            Step("freeze", site.freeze, on_node=True),
            Step("edit on its way", more, on_node=True),
            Step("patch on its way", patch, on_node=True),
            Step("judged", site.push),
            Step("pull", site.round),
            Step("decide at hub", self._decide_at_hub),
            Step("decide at node", self._decide_at_node, on_node=True),
            Step("decisions", site.push),
            Step("decided", site.round),
        ]

    def _ending(self) -> list[Step]:
        """Where the node is the fragile one, the hub loses what it had, and gets it back; else it forgets what is old."""
        site = self._site
        if site.moment.who == "hub":
            return [Step("prune", self._prune), Step("last pull", site.round)]
        lost = self._at_node("stock", s1={"n": 100}, s6={"n": 1})
        return [
            Step("keep hub", self._keep_hub),
            Step("edit what will be lost", lost, on_node=True),
            Step("push what will be lost", site.push),
            Step("put hub back", self._put_hub_back),
            Step("person goes on", self._at_hub("stock", s3={"n": 8})),
            Step("repair", site.pull),
            Step("again", site.push),
            Step("last pull", site.round),
        ]

    async def run(self) -> Ending:
        """All of it. Raises AssertionError where something is not as it was answered."""
        for number, step in enumerate(self._steps):
            begun = self._site.operations
            await self._make(number, step)
            if self._told is None:
                span = range(begun, self._site.operations)
                node, hub = await node_dump(self._site.node), await hub_dump(self._site.hub)
                history = await versions(self._site.hub, shared_version)
                self.seen.append(Seen(step, node, hub, history, span))
            self._site.clock.advance(1.0)
        return await self._end()

    async def _make(self, number: int, step: Step) -> None:
        site, self._again = self._site, False
        had_power = site.fragile.cut is None
        with contextlib.suppress(Transient):
            await step.work()
        if not had_power or site.fragile.cut is None:
            return
        cut = site.fragile.cut
        await site.start_after_cut()
        assert site.fragile.cut is None
        await self._examine(number, f"step «{step.name}»: {cut.label}, {cut.fate}")
        self._again = True
        await step.work()

    async def _examine(self, number: int, when: str) -> None:
        """Everything that was answered is there, and nothing half."""
        site, told = self._site, self._told
        assert told is not None
        node_fits(site.node)
        await frames_fit(site.node)
        await hub_fits(site.hub)
        at_node = site.moment.who == "node"
        found = await (node_dump(site.node) if at_node else hub_dump(site.hub))
        may = told.on_node(number) if at_node else told.at_hub(number)
        for key in {key for each in may for key in each} | found.keys():
            values = [each.get(key) for each in may] + ([] if at_node else told.within(number, key))
            assert found.get(key) in values, f"{when}: {key} is {found.get(key)!r}, not of {values}"

    async def _end(self) -> Ending:
        site = self._site
        node_fits(site.node)
        await frames_fit(site.node)
        await hub_fits(site.hub)
        rows = await hub_dump(site.hub)
        assert await node_dump(site.node) == {
            k: v for k, v in rows.items() if k[0] in site.node.rows.declared
        }
        for entity, expected in (await hub_digests(site.hub, site.node)).items():
            assert site.node.pulled.digest(entity) == expected, entity
            assert await site.node.rows.unsent(entity) == 0
        waiting = await versions(site.hub, shared_conflict)
        undecided = {
            (entity, row_id)
            for entity in site.node.rows.declared
            for row_id, _ in site.node.pulled.undecided(entity)
        }
        assert undecided == {(entity, row_id) for entity, row_id, *_ in waiting}
        history = [*await versions(site.hub, shared_version), *self._together]
        return Ending(rows, sorted(history), waiting)

    async def _declare(self) -> None:
        for entity, declaration in ENTITIES.items():
            await self._site.node.entities.declare(entity, Declare(declaration))

    def _at_node(self, entity: str, **bodies: object) -> Callable[[], Awaitable[None]]:
        """A program's change, of what it has read before; None deletes."""
        read: dict[str, Reading] = {}

        async def work() -> None:
            entities = self._site.node.entities
            if not self._again:
                found = await entities.find(entity, Find(ids=list(bodies)))
                read.update(
                    {row.id: Reading(row.revision, row.rev, row.body) for row in found.rows}
                )
            changes = [
                Change("delete", row_id)
                if body is None
                else Change("put", row_id, _raw(body), read=read.get(row_id))
                for row_id, body in bodies.items()
            ]
            before = await unfrozen(self._site.node, entity, bodies)
            await entities.change(entity, Changes(changes, again=self._again))
            self._together |= before - await unfrozen(self._site.node, entity, bodies)

        return work

    def _at_hub(self, entity: str, **bodies: object) -> Callable[[], Awaitable[None]]:
        """A person's changes, one by one."""

        async def work() -> None:
            for row_id, body in bodies.items():
                await self._put_at_hub(entity, row_id, body)

        return work

    async def _put_at_hub(self, entity: str, row_id: str, body: object) -> None:
        rows = self._site.hub.shared_rows
        if self._again and (await hub_dump(self._site.hub)).get((entity, row_id)) == bytes(
            _raw(body)
        ):
            return
        await rows.put(entity, row_id, RowPut(_raw(body)))
        self._site.heard(None)

    async def _delete_at_hub(self) -> None:
        for entity, row_id in (("card", "c3"), ("stock", "s5")):
            with contextlib.suppress(NotFound):
                await self._site.hub.shared_rows.delete(entity, row_id)
            self._site.heard(None)

    async def _decide_at_hub(self) -> None:
        """For what the node has said."""
        with contextlib.suppress(NotFound):
            await self._site.hub.shared_rows.resolve("recipe", "r1", Resolve("node"))
        self._site.heard(None)

    async def _decide_at_node(self) -> None:
        settled = Change("settle", "r2", _raw({"v": "decided"}))
        await self._site.node.entities.change("recipe", Changes([settled], again=self._again))

    async def _keep_hub(self) -> None:
        await self._site.keep_hub(self._copy)

    async def _put_hub_back(self) -> None:
        await self._site.put_hub_back(self._copy)

    async def _prune(self) -> None:
        while await self._site.hub.store.write(lambda c: prune(c, NEVER_LONG_AGO, 3)):
            self._site.heard(None)


def _raw(body: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(body, order="sorted"))


async def tell(templates: Templates, home: Path, moment: Moment, told: Told | None = None) -> Told:
    """Tells the story once in `home`; with `told` it must go and end like that. Raises AssertionError."""
    site = Site(home, templates, moment)
    await site.open()
    try:
        begun = site.operations
        story = Story(site, home / "copy", told)
        ending = await story.run()
        if told is not None:
            assert site.has_failed, "the power did not fail"
            assert ending == told.ending
        return Told(story.seen, ending, site.operations - begun)
    finally:
        await site.close()
        shutil.rmtree(home)
