"""What a hub's settings say of entities holds, whoever declares otherwise; and answers as small as a node asks for."""

import msgspec
from tests.hub_rig import HubRig
from tests.shared_rows import RowNode, put

from skerry.core.synced_words import EntityWords
from skerry.hub.sync.declarations import Declarations
from skerry.hub.sync.model_rows import ModelRows
from skerry.hub.sync.own_edits import OwnEdits
from skerry.hub.sync.push import Receiver
from skerry.hub.sync.shared_rows import SharedRows
from skerry.wire.entities import Declare
from skerry.wire.rows import RowPut
from skerry.wire.shared import DECLARATIONS, Buckets, Declaration, RowsPull, RowsWanted

NAME = "recipe"
SETTLED = ["strategy", "priority", "fields.n"]
WORDS = EntityWords("merge", fields={"n": "sum"}, priority="low")


async def held(hub: HubRig) -> Declarations:
    """The rig's rooms, with a hub's file; declarations of before are put right."""
    found = Declarations({NAME: WORDS, "silent": EntityWords()})
    await found.hold_all(hub.store, hub.clock.wall_ns())
    changed = hub.readers.changed
    hub.receiver = Receiver(hub.store, hub.ingest, hub.nodes, hub.news.append, changed, found)
    own_edits = OwnEdits(hub.store, hub.clock, changed, found)
    hub.model_rows = ModelRows(hub.store, own_edits)
    hub.shared_rows = SharedRows(hub.store, own_edits)
    return found


async def declaration(hub: HubRig, entity: str = NAME) -> Declaration:
    row = await hub.shared_rows.get(DECLARATIONS, entity)
    return msgspec.json.decode(row.body, type=Declaration)


async def test_the_file_declares_at_the_start_and_leaves_the_rest(hub: HubRig) -> None:
    await hub.model_rows.declare(NAME, Declare(Declaration("manual", fields={"m": "max"})))
    found = await held(hub)
    assert "silent" not in {row.id for row in (await hub.shared_rows.list(DECLARATIONS)).rows}
    wanted = Declaration("merge", fields={"m": "max", "n": "sum"}, priority="low", settled=SETTLED)  # fmt: skip
    assert await declaration(hub) == wanted
    at = (await hub.shared_rows.get(DECLARATIONS, NAME)).rev
    await found.hold_all(hub.store, hub.clock.wall_ns())
    assert (await hub.shared_rows.get(DECLARATIONS, NAME)).rev == at  # nothing to put right


async def test_a_node_that_declares_otherwise_hears_what_holds(hub: HubRig) -> None:
    await held(hub)
    node = RowNode(hub, "a")
    await node.pull(DECLARATIONS)
    hub.news.clear()
    said = msgspec.to_builtins(Declaration("central_wins", batch_size=7))
    await node.push(DECLARATIONS, put(NAME, said, hlc=1 << 62))
    assert await declaration(hub) == Declaration("merge", fields={"n": "sum"}, priority="low", batch_size=7, settled=SETTLED)  # fmt: skip
    assert hub.news == ["a"]
    await node.pull(DECLARATIONS)
    assert node.bodies(DECLARATIONS)[NAME] == msgspec.to_builtins(await declaration(hub))


async def test_people_and_their_programs_do_not_change_it(hub: HubRig) -> None:
    await held(hub)
    asked = Declare(Declaration("edge_wins", "manual", batch_size=1000))
    assert (await hub.model_rows.declare(NAME, asked)).declaration.strategy == "merge"
    replacing = Declare(Declaration("edge_wins", fields={"k": "min"}), replace=True)
    told = (await hub.model_rows.declare(NAME, replacing)).declaration
    assert (told.strategy, told.fields, told.settled) == (
        "merge",
        {"k": "min", "n": "sum"},
        SETTLED,
    )
    await hub.shared_rows.put(DECLARATIONS, NAME, RowPut(msgspec.Raw(b'{"strategy":"manual"}')))
    assert (await declaration(hub)).strategy == "merge"
    await hub.model_rows.declare("other", Declare(Declaration("manual")))
    assert (await declaration(hub, "other")).strategy == "manual"


async def test_what_the_file_no_longer_names_is_free_again(hub: HubRig) -> None:
    await held(hub)
    await hub.model_rows.declare(NAME, Declare(Declaration()))
    await Declarations({}).hold_all(hub.store, hub.clock.wall_ns())
    now = await declaration(hub)
    assert (now.strategy, now.settled) == ("merge", [])


async def test_answers_are_no_larger_than_asked_for(hub: HubRig) -> None:
    writer = RowNode(hub, "a")
    await writer.push(NAME, *(put(f"r{n}", {"text": "x" * 900}) for n in range(12)))
    asked = RowsPull({NAME: ""}, most=4096)
    page = await hub.row_feed.answer("b", asked)
    assert (len(page.parts[0].rows), page.parts[0].more) == (3, True)
    whole = await hub.row_feed.wanted(RowsWanted(NAME, [f"r{n}" for n in range(9)], most=4096))
    assert (len(whole.rows), whole.more) == (3, True)
    few = await hub.row_feed.answer("b", RowsPull({NAME: ""}, limits={NAME: 5}))
    assert (len(few.parts[0].rows), few.parts[0].more) == (5, True)


async def test_buckets_are_told_as_far_as_there_is_room(hub: HubRig) -> None:
    await RowNode(hub, "a").push(NAME, *(put(f"r{n}", {}) for n in range(60)))
    sums, rounds, told = [0] * 256, 0, set[str]()
    more = True
    while more:
        reply = await hub.row_feed.buckets(Buckets(NAME, sums, most=200))
        assert 1 <= len(reply.differing) <= 4
        for bucket, rows in reply.differing.items():
            told |= {row.id for row in rows}
            sums[bucket] = sum(row.mark for row in rows) % 2**64
        more, rounds = reply.more, rounds + 1
    assert told == {f"r{n}" for n in range(60)}
    assert rounds > 10
