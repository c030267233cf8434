"""Rows of models at the hub: many at once, judged like edits of nodes, found by what is in them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.hub_rig import HubRig
from tests.shared_rows import RowNode, put

from skerry.kit.errors import InvalidInput, NotFound, Refused, TooLarge
from skerry.wire.codec import encode
from skerry.wire.entities import Change, Changes, Declare, Filter, Find, Reading, Written
from skerry.wire.shared import Declaration


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(encode(value))


def change(kind: Any, row_id: str, body: object = None, **said: Any) -> Change:
    return Change(kind, row_id, raw(body), **said)


async def make(hub: HubRig, *changes: Change, entity: str = "recipe") -> list[Written]:
    return (await hub.model_rows.change(entity, Changes(list(changes)))).rows


async def bodies(hub: HubRig, **asked: Any) -> dict[str, object]:
    found = await hub.model_rows.find("recipe", Find(**asked))
    return {row.id: msgspec.json.decode(row.body) for row in found.rows}


class TestChanges:
    async def test_many_are_made_at_once_or_none(self, hub: HubRig) -> None:
        made = await make(hub, *(change("create", f"r{n}", {"n": n}) for n in range(100)))
        assert len({each.rev for each in made}) == 100
        with pytest.raises(Refused, match="«r5»"):
            await make(hub, change("put", "new", {}), change("create", "r5", {}))
        with pytest.raises(NotFound, match="«none»"):
            await make(hub, change("put", "new", {}), change("update", "none", {}))
        with pytest.raises(InvalidInput, match="twice"):
            await make(hub, change("put", "r1", {}), change("delete", "r1"))
        with pytest.raises(TooLarge):
            await make(hub, change("put", "new", {"text": "x" * 1_100_000}))
        gone = await make(hub, change("delete", "r1"), change("delete", "new"))
        assert [each.there for each in gone] == [True, False]
        assert len(await bodies(hub)) == 99

    async def test_a_change_expects_a_revision(self, hub: HubRig) -> None:
        [first] = await make(hub, change("create", "r", {"n": 1}))
        [second] = await make(hub, change("update", "r", {"n": 2}, expected=first.revision))
        with pytest.raises(Refused, match=f"it is at {second.revision}"):
            await make(hub, change("update", "r", {"n": 3}, expected=first.revision))
        with pytest.raises(Refused):
            await make(hub, change("delete", "r", expected=first.revision))

    async def test_what_says_the_same_is_no_edit(self, hub: HubRig) -> None:
        [first] = await make(hub, change("create", "r", {"a": 1, "b": 2}))
        [again] = await make(hub, change("update", "r", {"b": 2, "a": 1}))
        assert again.revision == first.revision

    async def test_the_same_changes_sent_again_are_made_once(self, hub: HubRig) -> None:
        asked = [change("create", "r", {"n": 1})]
        [first] = await make(hub, *asked)
        [again] = (await hub.model_rows.change("recipe", Changes(asked, again=True))).rows
        assert again.revision == first.revision

    async def test_an_update_of_an_older_version_is_judged(self, hub: HubRig) -> None:
        declaration = Declaration(strategy="merge", fields={"n": "sum"})
        await hub.model_rows.declare("recipe", Declare(declaration))
        [first] = await make(hub, change("create", "r", {"a": 1, "n": 1, "new": 0}))
        node = RowNode(hub)
        await node.push("recipe", put("r", {"a": 1, "n": 5, "new": 1}, first.rev, hlc=2))
        read = Reading(first.revision, first.rev, raw({"a": 1, "n": 1, "new": 0}))
        [met] = await make(hub, change("update", "r", {"a": 2, "n": 3}, read=read))
        assert msgspec.json.decode(met.body) == {"a": 2, "n": 7, "new": 1}
        assert await bodies(hub) == {"r": {"a": 2, "n": 7, "new": 1}}
        [same] = await make(hub, change("update", "r", {"a": 1, "n": 1}, read=read))
        assert same.revision == met.revision
        again = change("update", "r", {"a": 2, "n": 3}, read=read)
        with pytest.raises(Refused, match="may have been made already"):
            await hub.model_rows.change("recipe", Changes([again], again=True))
        assert await bodies(hub) == {"r": {"a": 2, "n": 7, "new": 1}}

    async def test_the_strategy_decides_about_an_update_of_an_older_version(
        self, hub: HubRig
    ) -> None:
        await hub.model_rows.declare("recipe", Declare(Declaration(strategy="manual")))
        [first] = await make(hub, change("create", "r", {"n": 1}))
        await make(hub, change("update", "r", {"n": 2}))
        read = Reading(first.revision, first.rev, raw({"n": 1}))
        [kept] = await make(hub, change("update", "r", {"n": 3}, read=read))
        assert bytes(kept.body) == b'{"n":2}'
        [waiting] = (await hub.model_rows.waiting("recipe")).edits
        assert (bytes(waiting.base), bytes(waiting.ours)) == (b'{"n":1}', b'{"n":3}')

    async def test_declarations_are_changed_by_declaring_only(self, hub: HubRig) -> None:
        with pytest.raises(Refused, match="Declare an entity"):
            await make(hub, change("put", "recipe", {"strategy": "best"}), entity="entity")


class TestDeclarations:
    async def test_a_contradiction_is_refused_and_more_rules_are_none(self, hub: HubRig) -> None:
        declare = hub.model_rows.declare
        await declare("recipe", Declare(Declaration(strategy="merge", fields={"a": "sum"})))
        more = await declare("recipe", Declare(Declaration(strategy="merge", fields={"b": "max"})))
        assert more.declaration.fields == {"a": "sum", "b": "max"}
        with pytest.raises(InvalidInput, match="«manual» instead of «merge»"):
            await declare("recipe", Declare(Declaration(strategy="manual")))
        await declare("recipe", Declare(Declaration(strategy="manual"), replace=True))
        [entity] = [each for each in await hub.shared_rows.entities() if each.entity == "entity"]
        assert entity.rows == 1
        with pytest.raises(InvalidInput, match="stay on a node"):
            await declare("recipe", Declare(local=True))

    @pytest.mark.parametrize("name", ["entity", "a b", "", "x" * 64, "a\0"])
    async def test_names_that_are_none(self, hub: HubRig, name: str) -> None:
        with pytest.raises(InvalidInput, match="cannot declare entity"):
            await hub.model_rows.declare(name, Declare())
        assert await hub.shared_rows.entities() == []

    async def test_two_made_apart_are_one(self, hub: HubRig) -> None:
        a, b = RowNode(hub, "a"), RowNode(hub, "b")
        await a.push("entity", put("recipe", {"strategy": "merge", "fields": {"a": "sum"}}, hlc=1))
        await b.push("entity", put("recipe", {"strategy": "merge", "fields": {"b": "max"}}, hlc=2))
        declared = await hub.model_rows.declare("recipe", Declare(Declaration(strategy="merge")))
        assert declared.declaration.fields == {"a": "sum", "b": "max"}


class TestFinding:
    async def test_by_ids_prefixes_and_fields(self, hub: HubRig) -> None:
        await make(
            hub,
            *(change("create", f"r{n:02}", {"n": n % 3, "in": {"m": n}}) for n in range(30)),
        )
        assert list(await bodies(hub, ids=["r03", "r01", "none"])) == ["r01", "r03"]
        assert list(await bodies(hub, prefix="r1", after="r17")) == ["r18", "r19"]
        where = [Filter("n", raw(1))]
        assert list(await bodies(hub, where=where, prefix="r1")) == ["r10", "r13", "r16", "r19"]
        assert list(await bodies(hub, where=[Filter("in.m", raw(7))])) == ["r07"]
        assert (await hub.model_rows.count("recipe", Find(where=where))).rows == 10
        assert len(await bodies(hub, where=[Filter("x", raw(1), or_absent=True)])) == 30

    async def test_values_of_every_kind(self, hub: HubRig) -> None:
        """Where bodies are plain the database looks first, and it has to see what a look into the body sees."""
        values: list[object] = [0, 1, 1.0, -0.0, 0.5, 1000, 1e3, True, None, "", "a\0ä\"/", [1], {"y": 1, "x": 2}]  # fmt: skip
        await make(hub, *(change("create", f"r{n:02}", {"v": each}) for n, each in enumerate(values)))  # fmt: skip
        for asked in values:
            alike = [f"r{n:02}" for n, each in enumerate(values) if each == asked and isinstance(each, bool) is isinstance(asked, bool)]  # fmt: skip
            where = [Filter("v", raw(asked))]
            assert list(await bodies(hub, where=where)) == alike
            assert (await hub.model_rows.count("recipe", Find(where=where))).rows == len(alike)

    async def test_large_rows_come_in_small_answers(self, hub: HubRig) -> None:
        for n in range(6):
            await make(hub, change("create", f"r{n}", {"text": "x" * 1_000_000, "n": n % 2}))
        answers, after = [], None
        while after != "":
            page = await hub.model_rows.find("recipe", Find(after=after or ""))
            answers.append([row.id for row in page.rows])
            after = page.next
        assert answers == [["r0", "r1", "r2", "r3"], ["r4", "r5"]]
        assert list(await bodies(hub, where=[Filter("n", raw(1))])) == ["r1", "r3", "r5"]
        listed = await hub.shared_rows.list("recipe")
        assert (len(listed.rows), listed.next) == (5, "r4")
        assert [row.id for row in (await hub.shared_rows.list("recipe", listed.next)).rows] == ["r5"]  # fmt: skip

    async def test_counts(self, hub: HubRig) -> None:
        await make(hub, *(change("create", f"{'ab'[n % 2]}-{n}", {}) for n in range(31)))
        await make(hub, change("delete", "a-0"), change("delete", "b-1"))
        counted = [(await hub.model_rows.count("recipe", asked)).rows for asked in (Find(), Find(prefix="a-"), Find(prefix="c"), Find(ids=["a-0", "a-2"]), Find(after="b-3"))]  # fmt: skip
        assert counted == [29, 15, 0, 1, 3]
        assert (await hub.model_rows.count("other", Find())).rows == 0

    async def test_page_by_page(self, hub: HubRig) -> None:
        await make(hub, *(change("create", f"r{n:04}", {}) for n in range(1203)))
        found, after = [], ""
        while True:
            page = await hub.model_rows.find("recipe", Find(after=after, limit=250))
            found += [row.id for row in page.rows]
            after = page.next
            if not after:
                break
        assert found == [f"r{n:04}" for n in range(1203)]


async def test_what_waits_is_listed_and_settled(hub: HubRig) -> None:
    await hub.model_rows.declare("recipe", Declare(Declaration(strategy="manual")))
    [first] = await make(hub, change("create", "r", {"n": 1}))
    await make(hub, change("update", "r", {"n": 2}))
    node = RowNode(hub)
    await node.push("recipe", put("r", {"n": 3}, first.rev, hlc=9))
    [waiting] = (await hub.model_rows.waiting("recipe")).edits
    assert (waiting.id, waiting.node, bytes(waiting.ours)) == ("r", "n", b'{"n":3}')
    assert bytes(waiting.base) == b'{"n":1}'
    [row] = (await hub.model_rows.find("recipe", Find())).rows
    assert (row.status, bytes(row.body)) == ("conflict", b'{"n":2}')
    await make(hub, change("settle", "r", {"n": 4}))
    assert (await hub.model_rows.waiting("recipe")).edits == []
    assert await bodies(hub) == {"r": {"n": 4}}
    with pytest.raises(NotFound, match="nothing waits"):
        await make(hub, change("settle", "r", {"n": 5}))


async def test_a_decision_whose_answer_was_lost_is_not_made_twice(hub: HubRig) -> None:
    await hub.model_rows.declare("recipe", Declare(Declaration(strategy="manual")))
    [first] = await make(hub, change("create", "r", {"n": 1}))
    await make(hub, change("update", "r", {"n": 2}))
    await RowNode(hub).push("recipe", put("r", {"n": 3}, first.rev, hlc=9))
    asked = Changes([change("settle", "r", {"n": 4})], again=True)
    [made] = (await hub.model_rows.change("recipe", asked)).rows
    assert (await hub.model_rows.waiting("recipe")).edits == []
    [again] = (await hub.model_rows.change("recipe", asked)).rows
    assert again.rev == made.rev
