"""Rows of models in a node's store, asked as the local API does: searches and counts, plain and sealed, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.entity_rig import entities
from tests.sealed_node import sealed_node

from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.node.store.entity_rows import EntityRows
from skerry.wire.entities import Change, Changes, Declare, Filter, Find, Reading
from skerry.wire.shared import Declaration


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def create(row_id: str, body: object) -> Change:
    return Change("create", row_id, raw(body))


@pytest.fixture(params=[False, True], ids=["plain", "sealed"])
async def rows(memory_dir: Path, request: pytest.FixtureRequest) -> AsyncIterator[EntityRows]:
    """Of a node that nobody else speaks to; «draft» is local, «recipe» shared."""
    async with sealed_node(memory_dir / "n", on=request.param) as node:
        found = entities(node)
        await found.declare("draft", Declare(local=True))
        rules = Declaration(strategy="merge", fields={"n": "sum"})
        await found.declare("recipe", Declare(rules))
        yield found


async def ids(rows: EntityRows, **asked: Any) -> list[str]:
    return [row.id for row in (await rows.find("draft", Find(**asked))).rows]


async def test_values_of_every_kind_are_found(rows: EntityRows) -> None:
    values: list[object] = [0, 1, 1.0, -0.0, 0.5, 1000, 1e3, True, None, "", 'a\0ä"/', [1], {"y": 1, "x": 2}]  # fmt: skip
    made = [create(f"r{n:02}", {"v": value}) for n, value in enumerate(values)]
    await rows.change("draft", Changes([*made, create("without", {})]))
    for asked in values:
        alike = [f"r{n:02}" for n, each in enumerate(values) if each == asked and isinstance(each, bool) is isinstance(asked, bool)]  # fmt: skip
        where = [Filter("v", raw(asked))]
        assert await ids(rows, where=where) == alike
        assert (await rows.count("draft", Find(where=where))).rows == len(alike)
    assert await ids(rows, where=[Filter("v", raw(0.5), or_absent=True)]) == ["r04", "without"]


async def test_many_rows_come_page_by_page(rows: EntityRows) -> None:
    names = [f"{'ab'[n % 2]}{n:04}" for n in range(2406)]
    await rows.change("draft", Changes([create(each, {"n": each[-1]}) for each in names]))
    await rows.change("draft", Changes([Change("delete", "a0000")]))
    found, after = [], None
    while after != "":
        page = await rows.find("draft", Find(after=after or "", limit=700))
        found += [row.id for row in page.rows]
        after = page.next
    assert found == sorted(names)[1:]
    assert (await rows.count("draft", Find())).rows == 2405
    assert (await rows.count("draft", Find(prefix="b"))).rows == 1203
    assert (await rows.count("draft", Find(prefix="c"))).rows == 0
    assert (await rows.count("draft", Find(prefix="b", after="b2001"))).rows == 202
    assert (await rows.count("draft", Find(ids=["b0001", "a0000", "x"]))).rows == 1
    assert len(await ids(rows, prefix="a", where=[Filter("n", raw("8"))])) == 240


async def test_a_count_of_more_than_one_statement(
    rows: EntityRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.node.store.entity_rows._COUNTED", 10)
    await rows.change("draft", Changes([create(f"r{n:02}", {}) for n in range(30)]))
    assert (await rows.count("draft", Find())).rows == 30
    assert (await rows.count("draft", Find(prefix="r1", after="r12"))).rows == 7


async def test_large_rows_come_in_small_answers(rows: EntityRows) -> None:
    for n in range(6):
        await rows.change("draft", Changes([create(f"r{n}", {"text": "x" * 1_000_000, "n": n % 2})]))  # fmt: skip
    answers, after = [], None
    while after != "":
        page = await rows.find("draft", Find(after=after or ""))
        answers.append([row.id for row in page.rows])
        after = page.next
    assert answers == [["r0", "r1", "r2", "r3"], ["r4", "r5"]]
    assert await ids(rows, where=[Filter("n", raw(1))]) == ["r1", "r3", "r5"]


async def test_changes_are_made_together_or_not_at_all(rows: EntityRows) -> None:
    await rows.change("draft", Changes([create("r", {"n": 1}), create("s", {"n": 1})]))
    for wrong, error in (
        (create("r", {}), Refused),
        (Change("update", "none", raw({})), NotFound),
        (create("x" * 201, {}), InvalidInput),
        (create("big", {"text": "x" * 1_048_576}), InvalidInput),
        (create("deep", [[]]), InvalidInput),
        (Change("settle", "r", raw({})), Refused),
        (create("new", {}), InvalidInput),
    ):
        with pytest.raises(error):
            await rows.change("draft", Changes([create("new", {}), Change("delete", "s"), wrong]))
    assert await ids(rows) == ["r", "s"]


async def test_the_rows_that_declare_are_nobodys(rows: EntityRows) -> None:
    """A wrong one would keep the node from starting, and the hub from judging."""
    with pytest.raises(Refused, match="Declare an entity"):
        await rows.change("entity", Changes([Change("put", "recipe", raw({"strategy": "best"}))]))
    with pytest.raises(InvalidInput, match="declarations themselves"):
        await rows.declare("entity", Declare(replace=True))


@pytest.mark.parametrize("entity", ["draft", "recipe"])
async def test_what_says_the_same_is_no_edit(rows: EntityRows, entity: str) -> None:
    [first] = (await rows.change(entity, Changes([create("r", {"a": 1, "b": 2})]))).rows
    same = Changes([Change("update", "r", raw({"b": 2, "a": 1}))])
    [again] = (await rows.change(entity, same)).rows
    assert again.revision == first.revision


async def test_a_change_whose_answer_was_lost_is_not_made_twice(rows: EntityRows) -> None:
    [first] = (await rows.change("recipe", Changes([create("r", {"a": 1, "n": 1})]))).rows
    read = Reading(first.revision, first.rev, raw({"a": 1, "n": 1}))
    await rows.change("recipe", Changes([Change("update", "r", raw({"a": 1, "n": 4}), read=read)]))
    asked = Changes([Change("update", "r", raw({"a": 2, "n": 3}), read=read)])
    await rows.change("recipe", asked)
    with pytest.raises(Refused, match="may have been made already"):
        await rows.change("recipe", msgspec.structs.replace(asked, again=True))
    asked = Changes([Change("update", "r", raw({"a": 2, "n": 1}), read=read)], again=True)
    await rows.change("recipe", asked)
    [row] = (await rows.find("recipe", Find())).rows
    assert msgspec.json.decode(row.body) == {"a": 2, "n": 6}


@pytest.mark.guarantee("G4")
async def test_what_a_search_reads_holds_no_other_read_back(rows: EntityRows) -> None:
    """A push that sees what was there before it was woken sleeps on."""
    large = raw({"text": "x" * 20_000})
    await rows.change("draft", Changes([Change("create", f"r{n:03}", large) for n in range(200)]))
    reader = rows._rows.reader
    searches = [asyncio.create_task(rows.find("draft", Find(limit=200))) for _ in range(4)]
    for number in range(100):
        await rows.change("recipe", Changes([create(f"s{number:03}", {"n": number})]))
        [seen] = reader.execute(
            "SELECT count(*) FROM shared_row WHERE entity = 'recipe'"
        ).fetchone()
        assert seen == number + 1
        if searches[0].done():
            searches = [*searches[1:], asyncio.create_task(rows.find("draft", Find(limit=200)))]
    await asyncio.gather(*searches)
