"""Rows of models: `skerry.sdk.model` against a real node and a real hub."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
from pathlib import Path

import pytest
from tests.entity_rig import ModelFleet, model_fleet

from skerry import sdk
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.sdk import Repository
from skerry.testing.waiting import eventually
from skerry.wire.shared import DECLARATIONS


class Course(enum.Enum):
    STARTER = "starter"
    MAIN = "main"


@dataclasses.dataclass
class Step:
    text: str
    id: str
    done: bool = False


@sdk.model(strategy="merge", edge_enabled=True, fields={"cooked": "sum"}, edge_strategy="eu-only")
@dataclasses.dataclass
class Recipe:
    title: str
    servings: int = 2
    cooked: int = 0
    course: Course = Course.MAIN
    tags: list[str] = dataclasses.field(default_factory=list)
    steps: list[Step] = dataclasses.field(default_factory=list)
    source: str | None = None
    tried: datetime.datetime | None = None
    id: str = ""


@sdk.model(name="recipe", strategy="merge", edge_enabled=True, edge_strategy="eu-only")
@dataclasses.dataclass
class OlderRecipe:
    """The same entity, as a program of before knows it."""

    title: str
    id: str = ""


@sdk.model(name="recipe", strategy="merge", edge_enabled=True, edge_strategy="eu-only")
@dataclasses.dataclass
class NewerRecipe:
    """As a program of after knows it: one field may be missing, one must not."""

    title: str
    author: str
    stars: int = 3
    id: str = ""


@sdk.model(strategy="manual", edge_enabled=True)
@dataclasses.dataclass
class Contract:
    text: str
    id: str = ""


@sdk.model()
@dataclasses.dataclass
class Draft:
    text: str
    pages: int = 1
    id: str = ""


async def status_is(rows: Repository[object], row_id: str, wanted: str) -> None:
    async def is_so() -> bool:
        return (await asyncio.to_thread(rows.info, row_id)).status == wanted

    await eventually(is_so, f"the row is {wanted}")


async def fields_are(rows: Repository[Recipe], row_id: str, **fields: object) -> None:
    async def is_so() -> bool:
        row = await asyncio.to_thread(rows.find, row_id)
        return row is not None and all(
            getattr(row, name) == value for name, value in fields.items()
        )

    await eventually(is_so, f"the row has {fields}")


async def test_a_row_made_on_a_node_is_read_at_the_hub(short_dir: Path) -> None:
    async with model_fleet(short_dir, 2) as found:
        recipes, others = (node.of(Recipe) for node in found.nodes)
        tried = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
        soup = Recipe(
            "soup", course=Course.STARTER, tags=["hot"], steps=[Step("boil", "1")], tried=tried
        )
        made = await asyncio.to_thread(recipes.create, soup)
        assert dataclasses.replace(made, id="") == soup
        assert await asyncio.to_thread(recipes.read, made.id) == made
        await status_is(recipes, made.id, "synced")
        hub = found.at_hub(Recipe)
        at_hub = await asyncio.to_thread(hub.read, made.id)
        assert at_hub == made
        assert (await asyncio.to_thread(hub.info, made.id)).by == "n0"
        await asyncio.to_thread(others.declare)
        await fields_are(others, made.id, title="soup")
        at_hub.servings = 8
        await asyncio.to_thread(hub.update, at_hub)
        await fields_are(others, made.id, servings=8)
        assert await asyncio.to_thread(others.delete, made.id)
        assert not await asyncio.to_thread(others.delete, made.id)
        assert await asyncio.to_thread(others.count) == 0

        async def is_gone() -> bool:
            return await asyncio.to_thread(recipes.find, made.id) is None

        await eventually(is_gone, "the row is deleted everywhere")
        with pytest.raises(NotFound, match=made.id):
            await asyncio.to_thread(recipes.update, made)


def check_a_repository(rows: Repository[Recipe]) -> None:
    """What every repository does, on a node and at the hub."""
    first = rows.create(Recipe("a", id="x-1"))
    with pytest.raises(Refused, match="x-1"):
        rows.create(Recipe("b", id="x-1"))
    with pytest.raises(NotFound, match="nowhere"):
        rows.read("nowhere")
    assert rows.find("nowhere") is None
    with pytest.raises(InvalidInput, match="Expected `str`, got `int`"):
        rows.create(Recipe(5))  # type: ignore[arg-type]
    first.servings = 5
    assert rows.update(first).servings == 5
    first.servings = 6
    assert rows.update(first).servings == 6
    stale = rows.revision(first)
    first.title = "c"
    rows.update(first)
    with pytest.raises(Refused, match="Read it again"):
        rows.update(first, expected=stale)
    with pytest.raises(Refused, match="Read it again"):
        rows.delete("x-1", expected=stale)
    with pytest.raises(InvalidInput, match="x-3"):
        rows.create(Recipe("long" * 300_000, id="x-3"))
    assert rows.upsert(Recipe("d", id="x-2")).title == "d"
    assert rows.upsert(Recipe("e", id="x-2")).title == "e"
    rows.create_many(Recipe(str(n), servings=n, id=f"y-{n}") for n in range(30))
    assert rows.count() == 32
    assert rows.count(prefix="y-") == 30
    assert [row.id for row in rows.list(where={"servings": 7})] == ["y-7"]
    assert [row.id for row in rows.list(prefix="y-2", limit=3)] == ["y-2", "y-20", "y-21"]
    assert [row.id for row in rows.list(prefix="y-2", limit=2, after="y-21")] == ["y-22", "y-23"]
    assert len(list(rows.each(page=7))) == 32
    assert rows.count(where={"course": Course.MAIN, "source": None}) == 32
    with pytest.raises(InvalidInput, match="«colour»"):
        rows.list(where={"colour": "red"})
    many = [dataclasses.replace(row, title="z") for row in rows.list(prefix="y-")]
    assert {row.title for row in rows.update_many(many)} == {"z"}
    with pytest.raises(Refused, match="x-1"):
        rows.create_many([Recipe("n", id="n-1"), Recipe("n", id="x-1")])
    assert rows.find("n-1") is None
    assert rows.delete_many([*(row.id for row in many), "nowhere"]) == 30
    assert [row.id for row in rows.list()] == ["x-1", "x-2"]
    assert rows.conflicts() == []


async def test_repositories_on_a_node_and_at_the_hub_do_the_same(short_dir: Path) -> None:
    async with model_fleet(short_dir) as found:
        await asyncio.to_thread(check_a_repository, found.at_hub(Recipe))
        await asyncio.to_thread(found.at_hub(Recipe).delete_many, ["x-1", "x-2"])
        await asyncio.to_thread(check_a_repository, found.nodes[0].of(Recipe))


async def test_an_update_meets_what_changed_meanwhile(short_dir: Path) -> None:
    """Between programs of one node, and between a node and a version that it has pulled since the row was read."""
    async with model_fleet(short_dir) as found:
        recipes, hub = found.nodes[0].of(Recipe), found.at_hub(Recipe)
        made = await asyncio.to_thread(recipes.create, Recipe("soup", cooked=1))
        one, other = [await asyncio.to_thread(recipes.read, made.id) for _ in range(2)]
        one.servings, one.cooked = 3, 2
        other.title, other.cooked = "stew", 4
        await asyncio.to_thread(recipes.update, one)
        met = await asyncio.to_thread(recipes.update, other)
        assert (met.title, met.servings, met.cooked) == ("stew", 3, 5)
        await status_is(recipes, made.id, "synced")
        old = await asyncio.to_thread(recipes.read, made.id)
        far = await asyncio.to_thread(hub.read, made.id)
        far.servings, far.cooked = 9, far.cooked + 10
        await asyncio.to_thread(hub.update, far)
        await fields_are(recipes, made.id, servings=9)
        old.title, old.cooked = "broth", old.cooked + 100
        await asyncio.to_thread(recipes.update, old)
        await fields_are(hub, made.id, title="broth", servings=9, cooked=115)
        await fields_are(recipes, made.id, title="broth", servings=9, cooked=115)
        await eventually(found.nodes[0].node.sent_all, "the hub has its edit")
        same = await asyncio.to_thread(recipes.read, made.id)
        far = await asyncio.to_thread(hub.read, made.id)
        far.servings = 11
        await asyncio.to_thread(hub.update, far)
        await fields_are(recipes, made.id, servings=11)
        assert (await asyncio.to_thread(recipes.update, same)).servings == 11  # nothing was changed
        assert await found.nodes[0].node.sent_all()


async def test_versions_of_a_program_keep_each_others_fields(short_dir: Path) -> None:
    async with model_fleet(short_dir) as found:
        [node] = found.nodes
        recipes, older, newer = node.of(Recipe), node.of(OlderRecipe), node.of(NewerRecipe)
        for rows in (recipes, found.at_hub(Recipe)):
            made = await asyncio.to_thread(rows.create, Recipe("soup", tags=["hot"]))
            mine = older if rows is recipes else found.at_hub(OlderRecipe)
            seen = await asyncio.to_thread(mine.read, made.id)
            seen.title = "stew"
            await asyncio.to_thread(mine.update, seen)
            await asyncio.to_thread(mine.upsert, OlderRecipe("broth", id=made.id))
            now = await asyncio.to_thread(rows.read, made.id)
            assert (now.title, now.tags) == ("broth", ["hot"])
        await asyncio.to_thread(older.create, OlderRecipe("bare", id="bare"))
        bare = await asyncio.to_thread(recipes.read, "bare")
        assert bare == Recipe("bare", id="bare")
        assert (
            await asyncio.to_thread(lambda: recipes.count(where={"title": "bare", "servings": 2}))
            == 1
        )
        with pytest.raises(InvalidInput, match="«bare» of «recipe».*`author`"):
            await asyncio.to_thread(newer.read, "bare")


async def test_a_contradiction_names_both_declarations(short_dir: Path) -> None:
    @sdk.model(name="recipe", strategy="central_wins", edge_enabled=True)
    @dataclasses.dataclass
    class Otherwise:
        title: str
        id: str = ""

    @sdk.model(name="recipe")
    @dataclasses.dataclass
    class Here:
        title: str
        id: str = ""

    async with model_fleet(short_dir) as found:
        [node] = found.nodes
        for at in (node.of, found.at_hub):
            await asyncio.to_thread(at(Recipe).declare)
            other = at(Otherwise)
            with pytest.raises(InvalidInput, match="«central_wins» instead of «merge»"):
                await asyncio.to_thread(other.count)
        with pytest.raises(InvalidInput, match="local to the node.*shared"):
            await asyncio.to_thread(node.of(Here).count)
        await asyncio.to_thread(lambda: node.of(Otherwise).declare(replace=True))
        assert node.node.rows.declared["recipe"].strategy == "central_wins"
        with pytest.raises(InvalidInput, match="edge_enabled"):
            found.at_hub(Here)


async def test_declarations_that_were_made_apart_are_one(short_dir: Path) -> None:
    """A node that comes later, with an older program, takes no rules away."""
    async with model_fleet(short_dir, 2) as found:
        one, two = found.nodes
        await asyncio.to_thread(one.of(Recipe).declare)

        async def at_hub() -> bool:
            return await one.node.sent_all()

        await eventually(at_hub, "the hub has the declaration")
        await asyncio.to_thread(two.of(OlderRecipe).declare)

        async def is_one() -> bool:
            declared = [node.node.rows.declared["recipe"].fields for node in found.nodes]
            return declared == [{"cooked": "sum"}] * 2 and await two.node.sent_all()

        await eventually(is_one, "both have the rules of both")
        await asyncio.to_thread(found.at_hub(Recipe).declare)


async def test_a_local_model_stays_on_its_node(short_dir: Path) -> None:
    async with model_fleet(short_dir) as found:
        [node] = found.nodes
        drafts = node.of(Draft)
        drafts._is_declared = (
            True  # as after the node's store was replaced while the workload went on
        )
        made = await asyncio.to_thread(drafts.create, Draft("a"))
        made.pages = 2
        await asyncio.to_thread(drafts.update, made)
        await asyncio.to_thread(drafts.upsert, Draft("b", id="b"))
        assert (await asyncio.to_thread(drafts.info, made.id)).status == "local_only"
        assert await asyncio.to_thread(drafts.count) == 2
        assert await asyncio.to_thread(drafts.delete, "b")
        reader = node.node.rows.reader
        for table, rows in (("shared_outbox", 0), ("shared_base", 0), ("shared_row", 1)):
            query = f"SELECT count(*) FROM {table} WHERE entity = 'draft'"  # noqa: S608 - names of tables
            assert reader.execute(query).fetchone()[0] == rows
        recipe = await asyncio.to_thread(node.of(Recipe).create, Recipe("soup"))
        await status_is(node.of(Recipe), recipe.id, "synced")
        assert "draft" not in node.node.rows.declared
        assert "draft" not in node.node.shared.pulled.cursors()
        declared = await node.node.program.list(DECLARATIONS)
        assert [row.id for row in declared] == ["recipe"]
        assert await asyncio.to_thread(node.of(Draft).read, made.id) == made


async def conflict(found: ModelFleet) -> Contract:
    mine, hub = found.nodes[0].of(Contract), found.at_hub(Contract)
    made = await asyncio.to_thread(mine.create, Contract("one"))
    await status_is(mine, made.id, "synced")
    old = await asyncio.to_thread(mine.read, made.id)
    far = await asyncio.to_thread(hub.read, made.id)
    far.text = "two"
    await asyncio.to_thread(hub.update, far)

    async def has_come() -> bool:
        return (await asyncio.to_thread(mine.read, made.id)).text == "two"

    await eventually(has_come, "the hub's version is here")
    old.text = "three"
    await asyncio.to_thread(mine.update, old)
    await status_is(mine, made.id, "conflict")
    return far


async def test_conflicts_are_seen_and_settled(short_dir: Path) -> None:
    async with model_fleet(short_dir) as found:
        far = await conflict(found)
        mine, hub = found.nodes[0].of(Contract), found.at_hub(Contract)
        for rows, node in ((mine, found.nodes[0].node.enrolled.node_id), (hub, "n0")):
            [waiting] = await asyncio.to_thread(rows.conflicts)
            assert waiting.row is not None
            assert waiting.ours is not None
            assert waiting.base is not None
            texts = (waiting.row.text, waiting.ours.text, waiting.base.text)
            assert (*texts, waiting.node) == ("two", "three", "one", node)
        assert (await asyncio.to_thread(hub.info, far.id)).status == "conflict"
        await asyncio.to_thread(mine.settle, dataclasses.replace(far, text="four"))
        await status_is(mine, far.id, "synced")
        assert (await asyncio.to_thread(hub.read, far.id)).text == "four"
        assert await asyncio.to_thread(hub.conflicts) == []
        for rows in (mine, hub):
            with pytest.raises(NotFound, match="wait"):
                await asyncio.to_thread(rows.settle, far)
