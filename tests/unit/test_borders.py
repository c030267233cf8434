"""Whatever comes over a border of node or hub is read as a valid value or refused in one sentence; nothing else.

Bytes that are not JSON, JSON of another shape, and right messages in which one part has become something else.
"""

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hub_rig import Lanes, batch, node_info, status

from skerry.core.cursors import Position, sign, verify
from skerry.core.lanes import Admit, admit
from skerry.hub.sync.frames import check_id, read_frames
from skerry.hub.sync.hello import agree
from skerry.kit.errors import InvalidInput, Refused
from skerry.node.data.publish import check, divide, read_publish
from skerry.node.data.subscribe import decode_cursor, encode_cursor
from skerry.node.store.segments import GROUP, HEADER, Frame, encode_frame, examine, scan
from skerry.wire import link
from skerry.wire.codec import compress, decode, decompress, encode
from skerry.wire.local import StopRequest
from skerry.wire.people import Apply, TokenRequest
from skerry.wire.records import Batch, Publish, PublishedRecord
from skerry.wire.sync import (
    NO_CHAIN,
    Enrol,
    Enrolled,
    Hello,
    HelloReply,
    LanePoint,
    Pull,
    PullReply,
    PushReply,
    PushUnit,
    StateFrame,
)
from skerry.wire.workload import Assignment

SESSION = "ab" * 16
KEY = b"k" * 32
NODE = "node-1"
SEALED = sign(Position(1, 7, "tag", NODE), KEY)

many = settings(max_examples=150, deadline=None)

numbers = st.sampled_from(
    [0, -1, 1.5, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**70, 10**4000, 1e308]
)
texts = st.text(max_size=8) | st.sampled_from(
    ["", "\0", "a" * 300, "../a", "x" * 70_000, "*a" * 99]
)
leaves = st.none() | st.booleans() | numbers | st.integers() | st.floats() | texts
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)

UNITS = [
    Lanes().unit("keep", [batch(1, 2.5, "text", True, sensor=7), batch("\0")]),
    Lanes().unit("state", [StateFrame([status("a"), node_info(NODE)])]),
]
PUBLISH = Publish(
    [PublishedRecord("env.x", 1, 5, {"a": "b"}), PublishedRecord("env.y", "text")],
    "event",
    SESSION,
    1,
)


def places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a JSON value."""
    found = [at]
    if isinstance(tree, dict | list):
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            found += places(part, (*at, key))
    return found


def replaced(tree: Any, at: tuple[Any, ...], part: Any) -> Any:
    """`tree` with another `part` at one place."""
    if not at:
        return part
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[at[0]] = replaced(copy[at[0]], at[1:], part)
    return copy


@st.composite
def nearly(draw: st.DrawFn, *messages: object) -> bytes:
    """One of the messages as JSON, with one part replaced, a few bytes overwritten, or cut off."""
    tree = json.loads(encode(draw(st.sampled_from(messages))))
    data = encode_any(replaced(tree, draw(st.sampled_from(places(tree))), draw(trees)))
    cut = draw(st.none() | st.integers(0, len(data)))
    start = draw(st.integers(0, len(data)))
    noise = draw(st.just(b"") | st.binary(max_size=4))
    return (data[:start] + noise + data[start + len(noise) :])[:cut]


def encode_any(tree: object) -> bytes:
    """JSON as careless programs write it: with NaN, Infinity and numbers of any size."""
    return json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")


def anything(*messages: object) -> st.SearchStrategy[bytes]:
    return nearly(*messages) | trees.map(encode_any) | st.binary(max_size=40)


def read_unit(data: bytes) -> None:
    """A push unit as the hub takes it, up to the decision about it."""
    unit = decode(data, PushUnit, "the request")
    frames = read_frames(NODE, unit)
    decision = admit(LanePoint(), unit, frames.sizes)
    assert isinstance(decision, Admit) or unit.first != 1 or unit.previous != NO_CHAIN


def read_publication(data: bytes) -> None:
    """A publish request as the node takes it; what the node takes, the hub takes."""
    request = read_publish(data)
    check(request)
    for lane, records in divide(request, {"env.y": "sample"}, 5):
        session, first = request.session or SESSION, request.first or 1
        taken = Batch(request.kind, "cam", session, first, 5, 5, "synced", records)
        unit = PushUnit(SESSION, lane, 1, NO_CHAIN, "boot", [msgspec.Raw(encode(taken))])
        assert read_frames(NODE, unit).sizes == [len(records)]


def read_hello(data: bytes) -> None:
    hello = decode(data, Hello, "the request")
    check_id(hello.incarnation, "incarnation")
    agree(hello.protocols)


def read_as(kind: type[object]) -> Callable[[bytes], object]:
    return lambda data: encode(decode(data, kind, "the message"))


BORDERS: list[Any] = [
    pytest.param(read_unit, UNITS, id="push unit"),
    pytest.param(read_publication, [PUBLISH], id="publish"),
    pytest.param(read_hello, [Hello((1, 1), SESSION, "0.1", "boot")], id="hello"),
    pytest.param(read_as(Pull), [Pull(SEALED, "ab", 5)], id="pull"),
    pytest.param(read_as(Enrol), [Enrol("t", "n", {"a": "b"}, "0.1", "0" * 64)], id="enrol"),
    pytest.param(read_as(Apply), [{"workloads": [{"name": "cam"}], "prune": True}], id="apply"),
    pytest.param(read_as(TokenRequest), [TokenRequest(60.0)], id="token request"),
    pytest.param(read_as(StopRequest), [StopRequest()], id="stop request"),
    pytest.param(read_as(Enrolled), [Enrolled("i", "n", "h")], id="enrolled"),
    pytest.param(
        read_as(HelloReply), [HelloReply(1, "h", 1, 1, {"keep": LanePoint()}, {})], id="hello reply"
    ),
    pytest.param(read_as(PushReply), [PushReply("ok", LanePoint(), 1)], id="push reply"),
    pytest.param(
        read_as(PullReply), [PullReply([status("a")], "c", more=False, full=True, hub_time=1)], id="pull reply"
    ),
    pytest.param(read_as(Assignment), [{"spec": {"name": "cam"}}], id="assignment"),
    pytest.param(
        link.from_text, [link.Open(1, "logs", {"workload": "cam"}), link.Data(1, "x")], id="link message"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("read", "messages"), BORDERS)
@many
@given(st.data())
def test_a_message_is_read_or_refused(
    read: Callable[[bytes], object], messages: list[object], data: st.DataObject
) -> None:
    taken_or_refused(lambda: read(data.draw(anything(*messages))))


@pytest.mark.parametrize(("read", "messages"), BORDERS)
def test_the_message_itself_is_taken(
    read: Callable[[bytes], object], messages: list[object]
) -> None:
    if read.__name__ != "<lambda>":
        for message in messages:
            read(encode(message))


@many
@given(st.binary(max_size=60) | trees.map(encode_any).map(compress), st.integers(0, 60))
def test_a_compressed_body_is_read_or_refused(data: bytes, cut: int) -> None:
    taken_or_refused(lambda: decompress(data[:cut], "the request", limit=1000))
    taken_or_refused(lambda: decompress(data, "the request", limit=1000))


cursor_texts = (
    st.text(max_size=40)
    | st.text("0123456789abcdef.-_+xX \n", max_size=40)
    | st.binary(max_size=60).map(lambda data: data.decode("utf-8", "surrogateescape"))
    | st.builds(lambda start, end: SEALED[:start] + SEALED[end:], st.integers(0, 60), st.integers(0, 60))
)  # fmt: skip


@many
@given(cursor_texts)
def test_a_cursor_is_read_or_refused(cursor: str) -> None:
    position = taken_or_refused(lambda: verify(cursor, KEY))
    assert position is None or cursor == SEALED
    places = taken_or_refused(lambda: decode_cursor(cursor))
    assert places is None or decode_cursor(encode_cursor(places)) == places


bodies = st.binary(max_size=30) | trees.map(lambda tree: msgspec.msgpack.encode(repr(tree)))


@many
@given(
    bodies
    | st.tuples(st.integers(-5, 2**63), st.integers(-5, 2**63), st.text(), st.text()).map(
        msgspec.msgpack.encode
    )
)
def test_a_cursor_of_another_version_of_this_hub_is_read_or_refused(body: bytes) -> None:
    position = taken_or_refused(lambda: verify(signed(body), KEY))
    assert position is None or verify(sign(position, KEY), KEY) == position


def signed(body: bytes) -> str:
    """A cursor whose signature is right and whose content is `body`."""
    signature = hmac.digest(KEY, body, "sha256")[:16]
    return base64.urlsafe_b64encode(signature + body).decode()


@many
@given(st.lists(st.binary(max_size=20) | trees.map(encode_any), max_size=4), st.binary(max_size=20))
def test_a_segment_file_is_read_whatever_is_in_it(payloads: list[bytes], noise: bytes) -> None:
    marks = [HEADER, *[GROUP] * len(payloads)]
    data = b"".join(
        encode_frame(mark, 1, 1, NO_CHAIN, payload)
        for mark, payload in zip(marks, payloads, strict=False)
    )
    for until in (None, 3):
        contents = examine(data + noise, 1, until)
        assert contents.size <= len(data + noise)
    assert [item.payload for item in scan(data) if isinstance(item, Frame)] == payloads


def taken_or_refused(read: Callable[[], Any]) -> Any:
    """What `read` returns, or None when it refuses in a sentence of bearable length."""
    try:
        return read()
    except (InvalidInput, Refused) as error:
        words = str(error)
    assert words.startswith("cannot ")
    assert words.isprintable()
    assert len(words) < 1200
    return None
