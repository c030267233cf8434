"""Cursors, digests, entities, selection, codec."""

import itertools

import msgspec
import pytest

from skerry.core.cursors import Position, set_digest, sign, verify
from skerry.core.entities import ENTITIES, incoming_wins, node_may_write
from skerry.core.selection import selects
from skerry.kit.errors import InvalidInput
from skerry.wire import link
from skerry.wire.codec import MAX_BODY, compress, decode, decompress, encode
from skerry.wire.records import Publish
from skerry.wire.sync import StateRow
from skerry.wire.workload import Exit, Selector


def test_a_cursor_comes_back_unchanged() -> None:
    position = Position(epoch=2, seq=17, tag="ab", scope="node-1")
    assert verify(sign(position, b"key"), b"key") == position


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "AAAA" * 20])
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        verify(cursor, b"key")


def test_a_cursor_of_another_hub_is_refused() -> None:
    cursor = sign(Position(1, 1, "t", "n"), b"other")
    with pytest.raises(InvalidInput, match="not issued by this hub"):
        verify(cursor, b"key")


def test_the_digest_ignores_order_but_nothing_else() -> None:
    one = {("a", "x"): 1, ("a", "y"): 2}
    assert set_digest(one) == set_digest(dict(reversed(one.items())))
    assert (
        len({set_digest(d) for d in (one, {}, {("a", "x"): 1}, {("a", "x"): 1, ("a", "y"): 3})})
        == 4
    )


def version(entity: str, rev: int, hlc: int, origin: str) -> StateRow:
    return StateRow(entity, "id", rev, hlc, origin, body=msgspec.Raw(b"{}"))


def test_an_edit_of_the_held_version_is_no_conflict() -> None:
    held = version("status", rev=5, hlc=100, origin="a")
    assert incoming_wins(held, version("status", rev=5, hlc=1, origin="b"))
    assert incoming_wins(None, version("status", rev=3, hlc=1, origin="b"))


def test_last_modified_takes_the_later_and_every_side_decides_alike() -> None:
    versions = [
        version("status", rev, hlc, origin)
        for rev, hlc, origin in [(1, 10, "a"), (2, 10, "b"), (3, 9, "c")]
    ]
    for first, second in itertools.permutations(versions, 2):
        winner = second if incoming_wins(first, second) else first
        assert winner == max(first, second, key=lambda row: (row.hlc, row.origin))


def test_central_wins_keeps_the_hubs_version() -> None:
    assert not incoming_wins(
        version("assignment", 5, 1, "hub"), version("assignment", 4, 10**9, "node")
    )


def test_nodes_write_only_what_is_theirs() -> None:
    assert {name for name in ENTITIES if node_may_write(name)} == {"status", "node", "outcome"}
    assert not node_may_write("unknown")


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        (Selector(), True),
        (Selector(node="n1"), True),
        (Selector(node="n2"), False),
        (Selector(labels={"site": "lab"}), True),
        (Selector(labels={"site": "lab", "rack": "1"}), False),
        (Selector(node="n1", labels={"site": "field"}), False),
    ],
)
def test_selection(selector: Selector, chosen: bool) -> None:
    assert selects(selector, "n1", {"site": "lab"}) is chosen


def test_compressed_bodies_come_back_and_bombs_do_not() -> None:
    assert decompress(compress(b"x" * 1000), "body") == b"x" * 1000
    with pytest.raises(InvalidInput, match=f"says to hold {MAX_BODY + 1} bytes"):
        decompress(compress(b"\0" * (MAX_BODY + 1)), "body")
    for damaged in (b"", b"garbage", compress(b"x" * 1000)[:-3]):
        with pytest.raises(InvalidInput, match="cannot read body"):
            decompress(damaged, "body")


def test_errors_name_the_place() -> None:
    with pytest.raises(
        InvalidInput, match=r"cannot read publish: Expected .* at `\$.records\[0\].name`"
    ):
        decode(b'{"records":[{"name":1,"value":1}]}', Publish, "publish")
    with pytest.raises(InvalidInput, match="cannot read list"):
        decode(b"[" * 100_000, list[int], "list")


@pytest.mark.parametrize(
    "message",
    [
        link.News(),
        link.News(rows=True),
        link.Open(1, "logs", {"workload": "cam"}),
        link.Opened(1),
        link.Data(1, "text"),
        link.Credit(1, 5),
        link.Close(1, "gone"),
    ],
)
def test_link_messages_come_back(message: link.Message) -> None:
    assert link.from_text(link.to_text(message)) == message
    assert encode(message) == link.to_text(message).encode()


def test_no_link_message() -> None:
    with pytest.raises(InvalidInput, match="link message"):
        link.from_text('{"type":"dance"}')


def test_exits_for_people() -> None:
    assert [str(e) for e in (Exit(code=1), Exit(signal=9), Exit())] == [
        "code 1",
        "signal 9",
        "unknown",
    ]
    assert (Exit(code=0).ok, Exit(code=1).ok, Exit().ok) == (True, False, False)
